//! schemas/http/openapi.yaml and the code say the same, in both directions.

use evenkeel_ingest::{Kind, OPENAPI_YAML, PROBLEM_TYPE, ROUTES};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

fn description() -> Value {
    serde_saphyr::from_str(OPENAPI_YAML).unwrap()
}

/// Follows one `$ref` into the document.
fn follow<'a>(whole: &'a Value, node: &'a Value) -> &'a Value {
    match node.get("$ref").and_then(Value::as_str) {
        Some(link) => {
            whole.pointer(link.strip_prefix('#').unwrap()).unwrap_or_else(|| panic!("{link} is missing"))
        }
        None => node,
    }
}

fn keys(node: &Value) -> BTreeSet<String> {
    node.as_object().map(|object| object.keys().cloned().collect()).unwrap_or_default()
}

fn slugs(node: &Value) -> BTreeSet<String> {
    let list = node.get("x-problems").and_then(Value::as_array).cloned().unwrap_or_default();
    list.iter().map(|slug| slug.as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_route_status_and_content_type_is_described_and_no_other() {
    let whole = description();
    let paths: BTreeSet<String> = ROUTES.iter().map(|route| route.path.to_owned()).collect();
    assert_eq!(keys(&whole["paths"]), paths);
    for path in &paths {
        let methods = ROUTES.iter().filter(|route| route.path == path);
        let methods = methods.map(|route| route.method.to_ascii_lowercase()).collect::<BTreeSet<_>>();
        assert_eq!(keys(&whole["paths"][path.as_str()]), methods, "{path}");
    }
    for route in ROUTES {
        let row = format!("{} {}", route.method, route.path);
        let operation = &whole["paths"][route.path][route.method.to_ascii_lowercase()];
        let takes = operation
            .get("requestBody")
            .map(|body| keys(&follow(&whole, body)["content"]))
            .unwrap_or_default();
        assert_eq!(takes, route.takes.iter().map(|t| (*t).to_owned()).collect(), "{row}");

        let successes: Vec<String> = route.statuses.iter().map(u16::to_string).collect();
        let mut want: BTreeMap<String, BTreeSet<String>> =
            successes.iter().map(|status| (status.clone(), BTreeSet::new())).collect();
        for kind in route.problems {
            want.entry(kind.status().as_u16().to_string()).or_default().insert(kind.slug().into());
        }
        assert_eq!(keys(&operation["responses"]), want.keys().cloned().collect(), "{row}");
        for (status, kinds) in want {
            let response = follow(&whole, &operation["responses"][&status]);
            assert_eq!(slugs(response), kinds, "{row} {status}");
            let gives = if successes.contains(&status) { route.gives } else { PROBLEM_TYPE };
            let gives = BTreeSet::from_iter((!gives.is_empty()).then(|| gives.to_owned()));
            assert_eq!(keys(&response["content"]), gives, "{row} {status}");
            let waits = ["429", "503"].contains(&status.as_str());
            assert_eq!(
                waits,
                response
                    .pointer("/headers/retry-after/$ref")
                    .is_some_and(|r| r == "#/components/headers/retry-after")
            );
        }
    }
    // Every problem of the code is in the file, also the one no path answers.
    let described: BTreeSet<String> =
        whole["components"]["responses"].as_object().unwrap().values().flat_map(slugs).collect();
    assert_eq!(described, Kind::ALL.iter().map(|kind| kind.slug().to_owned()).collect());
}

/// A validator of one schema, the rest of the document at hand for its references.
fn validator(whole: &Value, schema: &Value) -> jsonschema::Validator {
    let mut schema = schema.clone();
    schema["components"] = whole["components"].clone();
    jsonschema::draft202012::new(&schema).unwrap()
}

fn check_media(whole: &Value, media: &Value, at: &str, seen: &mut usize) {
    let validator = validator(whole, &media["schema"]);
    for (name, example) in media.get("examples").and_then(Value::as_object).into_iter().flatten() {
        *seen += 1;
        if let Err(error) = validator.validate(&example["value"]) {
            panic!("{at} {name}: {error}");
        }
    }
}

#[test]
fn every_example_is_valid() {
    let whole = description();
    let mut seen = 0;
    for (name, body) in whole["components"]["requestBodies"].as_object().unwrap() {
        for (kind, media) in body["content"].as_object().unwrap() {
            check_media(&whole, media, &format!("{name} {kind}"), &mut seen);
        }
    }
    for (name, response) in whole["components"]["responses"].as_object().unwrap() {
        for (kind, media) in response.get("content").and_then(Value::as_object).into_iter().flatten() {
            check_media(&whole, media, &format!("{name} {kind}"), &mut seen);
        }
    }
    assert!(seen >= 7, "{seen} examples");
    let event = validator(&whole, &json!({"$ref": "#/components/schemas/Event"}));
    assert!(!event.is_valid(&json!({"ts": 1, "feilds": {}})), "the schema refuses something");
}

#[test]
fn what_the_code_answers_is_valid_and_the_examples_are_accepted() {
    use crate::client::{JSON, NDJSON, post};
    let whole = description();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let server = crate::server::start(&[]).await;
        let content = &whole["components"]["requestBodies"]["Events"]["content"];
        let verdicts = validator(&whole, &json!({"$ref": "#/components/schemas/Verdicts"}));
        for example in content[JSON]["examples"].as_object().unwrap().values() {
            let reply = post(server.address, "/v1/events", JSON, example["value"].to_string()).await;
            assert_eq!(reply.status, 200, "{example}");
            assert!(verdicts.is_valid(&reply.json()));
            assert_eq!(reply.json()["rejected_total"], 0, "{example}");
        }
        for example in content[NDJSON]["examples"].as_object().unwrap().values() {
            let text = example["value"].as_str().unwrap();
            let reply = post(server.address, "/v1/events", NDJSON, format!("{text}x\n")).await;
            assert_eq!((reply.status, &reply.json()["rejected_total"]), (200, &json!(1)), "{example}");
            assert!(verdicts.is_valid(&reply.json()));
        }
        let problem = validator(&whole, &json!({"$ref": "#/components/schemas/Problem"}));
        for (path, kind, body) in [
            ("/", JSON, ""),
            ("/v1/events", JSON, "{"),
            ("/v1/events", NDJSON, "x"),
            ("/v1/events", "a/b", ""),
        ] {
            let reply = post(server.address, path, kind, body).await;
            assert!(problem.is_valid(&reply.json()), "{reply:?}");
        }
        server.stop().await;
    });
}
