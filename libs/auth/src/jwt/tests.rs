//! What a token must be, claim by claim; signatures over real sockets are in the services' tests.

use super::*;
use crate::config::tests::jwt as config;
use serde_json::json;

const NOW_MS: i64 = 1_700_000_000_000;

fn jwt() -> Jwt {
    Jwt::load(&config(), Some("permissions"), NOW_MS).unwrap().unwrap()
}

fn judge(claims: Value) -> Result<Credential, String> {
    let claims: BTreeMap<String, Value> = serde_json::from_value(claims).unwrap();
    jwt().rules.credential(&claims, [0; 32], NOW_MS).map_err(|denied| denied.to_string())
}

#[test]
fn times_are_judged_by_the_arrival_clock_with_leeway() {
    let now_s = NOW_MS / 1000;
    let with = |exp: i64, nbf: i64| judge(json!({"sub": "a", "streams": ["*"], "exp": exp, "nbf": nbf}));
    assert_eq!(with(now_s + 60, 0).unwrap().expires_at_ms, Some(NOW_MS + 90_000));
    assert!(with(now_s - 29, 0).is_ok());
    assert_eq!(with(now_s - 30, 0).unwrap_err(), "it expired 0 s ago");
    assert_eq!(with(now_s - 3630, 0).unwrap_err(), "it expired 3600 s ago");
    assert!(with(now_s + 60, now_s + 30).is_ok());
    assert_eq!(with(now_s + 60, now_s + 90).unwrap_err(), "it is not valid yet, for another 60 s");
    assert!(judge(json!({"sub": "a", "streams": ["*"], "exp": "soon"})).unwrap_err().contains("`exp`"));
    assert!(judge(json!({"sub": "a", "streams": ["*"]})).unwrap_err().contains("`exp` is missing"));
    assert!(judge(json!({"sub": "a", "streams": ["*"], "exp": 1e300})).is_ok());
}

#[test]
fn streams_are_a_list_or_a_text_and_bounded() {
    let with = |streams: Value| judge(json!({"sub": "a", "streams": streams, "exp": 1e12}));
    for streams in [json!(["imu/*", "app/1"]), json!("imu/* app/1")] {
        let credential = with(streams).unwrap();
        assert!(credential.allows("imu/7") && credential.allows("app/1") && !credential.allows("bowl/1"));
    }
    let wrong = [
        json!([]),
        json!(""),
        json!(7),
        json!(["a", 7]),
        json!([""]),
        json!(["a".repeat(257)]),
        json!(vec!["a"; 65]),
        Value::Null,
    ];
    for streams in wrong {
        assert!(with(streams.clone()).unwrap_err().starts_with("its claim `streams`"), "{streams}");
    }
}

#[test]
fn permissions_are_a_list_or_a_text_and_others_are_passed_over() {
    let with = |permissions: Value| {
        let claims = json!({"sub": "a", "streams": "*", "permissions": permissions, "exp": 1e12});
        judge(claims).unwrap().permissions.into_iter().collect::<Vec<_>>()
    };
    for both in [json!(["alerts", "fleet", "billing", 7]), json!("fleet billing alerts")] {
        assert_eq!(with(both), [Permission::Fleet, Permission::Alerts]);
    }
    for none in [Value::Null, json!([]), json!(7), json!("Fleet")] {
        assert_eq!(with(none), []);
    }
    assert_eq!(judge(json!({"sub": "a", "streams": "*", "exp": 1e12})).unwrap().permissions, BTreeSet::new());
}

#[test]
fn the_tenant_must_have_a_name() {
    for sub in [json!(""), json!(7), json!("a\nb"), json!("a".repeat(257))] {
        let denied = judge(json!({"sub": sub, "streams": "*", "exp": 1e12})).unwrap_err();
        assert!(denied.starts_with("its claim `sub`"), "{denied}");
    }
    assert_eq!(&*judge(json!({"sub": "plant 7", "streams": "*", "exp": 1e12})).unwrap().name, "plant 7");
}

#[test]
fn keys_are_forgotten_when_they_are_too_old() {
    let jwt = jwt();
    assert_eq!(jwt.verify(b"a.b.c", NOW_MS), Err(Denied::NoKeys));
    let key = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]});
    jwt.replace(key.to_string().as_bytes(), NOW_MS).unwrap();
    let day_ms = 86_400_000;
    assert!(matches!(jwt.verify(b"a.b.c", NOW_MS + day_ms), Err(Denied::Unreadable { .. })));
    assert_eq!(jwt.verify(b"a.b.c", NOW_MS + day_ms + 1), Err(Denied::NoKeys));
    assert!(jwt.replace(b"{}", NOW_MS + day_ms).is_err());
    assert!(jwt.held(NOW_MS).is_some(), "a broken document changes nothing");
}

#[test]
fn a_key_file_that_stays_keeps_its_keys_young_and_one_that_breaks_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.json");
    let key = |name: &str| {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": name, "x": x}]}).to_string()
    };
    std::fs::write(&path, key("a")).unwrap();
    let config = JwtConfig { jwks_file: path.clone(), jwks_url: String::new(), ..config() };
    let jwt = Jwt::load(&config, None, 0).unwrap().unwrap();
    let day_ms = 86_400_000;
    assert!(!jwt.reload(day_ms).unwrap());
    assert!(jwt.held(2 * day_ms).is_some());
    std::fs::write(&path, key("b")).unwrap();
    assert!(jwt.reload(2 * day_ms).unwrap());
    std::fs::write(&path, "{").unwrap();
    assert!(jwt.reload(2 * day_ms).unwrap_err().to_string().contains("keys.json"));
    assert!(!jwt.reload(3 * day_ms).unwrap(), "told once");
    assert!(jwt.held(3 * day_ms).is_some() && jwt.held(3 * day_ms + 1).is_none());
}

#[test]
fn remembered_tokens_are_bounded_and_expire() {
    let mut known = Known { tokens: BTreeMap::new(), tokens_max: 3, swept_ms: i64::MIN };
    let credential = |expires_at_ms| {
        let origin = Origin::Jwt { key: [0; 32] };
        let (name, streams, permissions) = ("a".into(), vec![], BTreeSet::new());
        Arc::new(Credential { name, streams, permissions, origin, expires_at_ms: Some(expires_at_ms) })
    };
    for n in 0..10u8 {
        known.put([n; 32], &credential(100), 0);
        assert!(known.tokens.len() <= 3 && known.get(&[n; 32], 99).is_some());
    }
    known.put([20; 32], &credential(300), 200);
    assert_eq!(known.tokens.len(), 3, "all are looked through every few seconds only");
    known.put([21; 32], &credential(9_000), SWEEP_MS);
    assert_eq!(known.tokens.len(), 1, "the expired ones made room");
    assert!(known.get(&[21; 32], 9_000).is_none() && known.tokens.is_empty());
}
