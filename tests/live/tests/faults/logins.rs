//! Who may talk to Kafka and to the store: a wrong password, a wrong certificate and a missing login are told at
//! once with the keys to check, and exit code 2, because starting again would not help.

use crate::site::{FLEET, Service, Site, deliver, now_ms};
use evenkeel_live::parts::cassandra::{LocalServer, Login};
use evenkeel_live::parts::kafka::{LocalBroker, Secure};
use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509NameBuilder};
use std::path::{Path, PathBuf};

struct Identity {
    key: PKey<Private>,
    certificate: X509,
}

/// A certificate in this name, signed by `issuer` or by itself.
fn identity(name: &str, issuer: Option<&Identity>) -> Identity {
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut builder = X509Builder::new().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(issuer.map_or(&subject, |i| i.certificate.subject_name())).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(2).unwrap()).unwrap();
    builder.set_pubkey(&key).unwrap();
    match issuer {
        None => builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap(),
        Some(issuer) => {
            let names = SubjectAlternativeName::new()
                .ip("127.0.0.1")
                .build(&builder.x509v3_context(Some(&issuer.certificate), None))
                .unwrap();
            builder.append_extension(names).unwrap();
        }
    }
    builder.sign(issuer.map_or(&key, |i| &i.key), MessageDigest::sha256()).unwrap();
    Identity { certificate: builder.build(), key }
}

/// Key and certificate of a broker, by an authority of their own.
pub fn broker_identity() -> String {
    let server = identity("broker", Some(&identity("test authority", None)));
    let pem = [server.key.private_key_to_pem_pkcs8().unwrap(), server.certificate.to_pem().unwrap()].concat();
    String::from_utf8(pem).unwrap()
}

fn file(dir: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

#[test]
fn a_wrong_kafka_login_or_certificate_is_exit_code_2_with_the_keys_to_check() {
    let dir = tempfile::tempdir().unwrap();
    let authority = identity("test authority", None);
    let server = identity("broker", Some(&authority));
    let pem = [server.key.private_key_to_pem_pkcs8().unwrap(), server.certificate.to_pem().unwrap()].concat();
    let secure = Secure {
        user: "alice".into(),
        password: "right".into(),
        key_and_certificate: String::from_utf8(pem).unwrap(),
        forbids: false,
    };
    let broker = LocalBroker::start_secure(secure).unwrap();
    let (right, wrong) = (file(dir.path(), "right", b"right\n"), file(dir.path(), "wrong", b"wrong\n"));
    let login = |password: &Path| {
        Site::at("sasl", &broker.login_address(), "127.0.0.1:1")
            .set("kafka.security.protocol=sasl-plaintext")
            .set("kafka.security.mechanism=plain")
            .set("kafka.security.username=alice")
            .set(format!("kafka.security.password-file={}", password.display()))
            .set("kafka.timeouts.connect=30s")
    };
    let site = login(&wrong);
    for service in ["ingest", "coalescer"] {
        let (code, said) = site.refused(service, &[]);
        assert_eq!(code, Some(2), "{service}: {said}");
        assert!(said.contains("refused the login of \"alice\"") && said.contains("password-file"), "{said}");
        assert!(!said.contains("wrong\n") && !said.contains("\"wrong\""), "a secret in {said}");
    }
    let topics = site.run(&["topics", "diff"], &[]);
    assert_eq!(topics.status.code(), Some(2));
    let missing = dir.path().join("no-such-file");
    let (code, said) = login(&missing).refused("coalescer", &[]);
    assert!(code == Some(2) && said.contains("no-such-file"), "{code:?} {said}");
    // Nobody's login: the broker hangs up, which may be anything; the words name the security settings.
    let nobody = Site::at("sasl", &broker.login_address(), "127.0.0.1:1").set("kafka.timeouts.connect=3s");
    let (code, said) = nobody.refused("coalescer", &[]);
    assert!(code == Some(3) && said.contains("security settings"), "{code:?} {said}");
    serves(&login(&right));

    let other = identity("another authority", None);
    let trusted = |ca: &Identity, name: &str| {
        let ca = file(dir.path(), name, &ca.certificate.to_pem().unwrap());
        Site::at("tls", &broker.tls_address(), "127.0.0.1:1")
            .set("kafka.security.protocol=ssl")
            .set(format!("kafka.security.ca-file={}", ca.display()))
            .set("kafka.timeouts.connect=5s")
    };
    let (code, said) = trusted(&other, "other.pem").refused("coalescer", &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("TLS") && said.contains("ca-file"), "{said}");
    serves(&trusted(&authority, "ca.pem"));
}

/// Topics can be made, ingest acknowledges, and a coalescer consumes.
fn serves(site: &Site) {
    site.make_topics();
    let mut ingest = site.start("ingest", &[]);
    deliver(&ingest.address(), &FLEET.body(0, now_ms() - 20_000));
    let mut coalescer = site.start("coalescer", &[]);
    let counted = "evenkeel_coalescer_events_total{outcome=\"counted\",size=\"5000\"}";
    coalescer.until("events come through", |c| c.metric(counted) == Some(50.0));
    assert_eq!((ingest.terminate(), coalescer.terminate()), (Some(0), Some(0)));
}

#[test]
fn a_wrong_cql_login_is_exit_code_2_with_the_keys_to_check() {
    let dir = tempfile::tempdir().unwrap();
    let server = LocalServer::start(Login::Password).unwrap();
    let (right, wrong) = (file(dir.path(), "right", b"cassandra\n"), file(dir.path(), "wrong", b"wrong\n"));
    let site = Site::on_kafka("cql-login");
    let address = server.address();
    let login = |password: &Path| {
        [
            format!("cql.contact-points=[\"{address}\"]"),
            "cql.auth.user=cassandra".to_owned(),
            format!("cql.auth.password-file={}", password.display()),
        ]
    };
    let as_text = |sets: &[String; 3]| -> Vec<String> { sets.to_vec() };
    let refused = |sets: &[String]| {
        let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
        let (code, said) = site.refused("sink", &sets);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("refused the login of") && said.contains("cql.auth"), "{said}");
        assert!(!said.contains("\"wrong\""), "a secret in {said}");
    };
    refused(&as_text(&login(&wrong)));
    refused(&login(&wrong)[..1]); // no login at all
    let mut site = site;
    site.settings.extend(login(&right));
    site.cql = address;
    site.make_tables();
    let start = (now_ms() - 60_000) / 5_000 * 5_000;
    let mut ingest = site.start("ingest", &[]);
    let at = ingest.address();
    deliver(&at, &FLEET.body(0, start));
    deliver(&at, &FLEET.closing(start + 30_000));
    let (coalescer, mut sink): (Service, Service) = (site.start("coalescer", &[]), site.start("sink", &[]));
    sink.until("rows with the right password", |_| site.stored(start + 5_000) == FLEET.expected(1, start));
    for service in [ingest, coalescer, sink] {
        assert_eq!(service.terminate(), Some(0));
    }
}
