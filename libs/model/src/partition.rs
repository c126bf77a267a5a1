//! The partitioner: murmur2 as the Java client computes it, so that every client agrees on the owner.

/// The partition of a stream: `toPositive(murmur2(stream_id)) % partitions`, as Kafka's Java client and
/// librdkafka's `murmur2_random` place a record with that key. `partitions` must be at least 1.
pub fn partition_of(stream_id: &str, partitions: u32) -> u32 {
    (murmur2(stream_id.as_bytes()) & 0x7fff_ffff) % partitions.max(1)
}

/// MurmurHash2, 32 bit, seed 0x9747b28c (Austin Appleby; `org.apache.kafka.common.utils.Utils.murmur2`).
pub fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    let mut h: u32 = 0x9747_b28c ^ data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in words.by_ref() {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k ^= k >> R;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let tail = words.remainder();
    if !tail.is_empty() {
        for (i, byte) in tail.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_java_clients_own_test_vectors() {
        // UtilsTest.testMurmur2 of Apache Kafka, as signed 32-bit integers.
        for (key, want) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, want, "{key}");
        }
    }

    #[test]
    fn a_partition_is_always_in_range() {
        for n in 1..50 {
            assert!(partition_of(&format!("device/{n}"), n) < n);
        }
    }
}
