//! stream_id patterns of a credential.

/// A stream_id pattern: `*` stands for any run of characters (also `/`), `?` for one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern(String);

impl Pattern {
    /// A pattern of this text; every text is one.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether the text is covered. Linear in practice, at worst pattern × text: it only ever backs up to the last `*`.
    pub fn matches(&self, text: &str) -> bool {
        let pattern: Vec<char> = self.0.chars().collect();
        let text: Vec<char> = text.chars().collect();
        let (mut p, mut t) = (0, 0);
        let mut last_star: Option<(usize, usize)> = None;
        while t < text.len() {
            match pattern.get(p) {
                Some('*') => {
                    last_star = Some((p, t));
                    p += 1;
                }
                Some(&c) if c == '?' || c == text[t] => {
                    p += 1;
                    t += 1;
                }
                _ => match last_star {
                    Some((star, from)) => {
                        last_star = Some((star, from + 1));
                        (p, t) = (star + 1, from + 1);
                    }
                    None => return false,
                },
            }
        }
        pattern[p..].iter().all(|&c| c == '*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_what_they_say() {
        for (pattern, text, want) in [
            ("imu/*", "imu/S06/ankle", true),
            ("imu/*", "imu/", true),
            ("imu/*", "imu", false),
            ("imu/*", "ximu/a", false),
            ("*", "", true),
            ("*a*b", "xaab", true),
            ("*a*b", "xaabc", false),
            ("app/?", "app/ü", true),
            ("app/?", "app/ab", false),
            ("", "", true),
            ("a**", "a", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(text), want, "{pattern} {text}");
        }
    }
}
