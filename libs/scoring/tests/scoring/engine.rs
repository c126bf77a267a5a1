//! Who runs a model: the graph decides, ours first.

use evenkeel_scoring::{Engine, EngineError, Runtime};

fn file(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../../tests/models/{name}.onnx", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn who(name: &str, runtime: &Runtime) -> &'static str {
    Engine::load(&file(name), runtime).unwrap_or_else(|e| panic!("{name}: {e}")).name()
}

#[test]
fn ours_comes_first_and_tract_gets_what_ours_does_not_have() {
    for name in ["cases/perceptron", "cases/mixed_logistic", "cases/lightgbm", "sample/bowls"] {
        assert_eq!(who(name, &Runtime::Auto), "own", "{name}");
    }
    for name in ["networks/convolution", "networks/dense", "networks/lstm", "networks/gru", "networks/rules"]
    {
        assert_eq!(who(name, &Runtime::Auto), "tract", "{name}");
        assert!(matches!(Engine::load(&file(name), &Runtime::Own), Err(EngineError::Own(_))), "{name}");
    }
    assert_eq!(who("networks/dense", &Runtime::Tract), "tract");
    assert!(matches!(Engine::load(&file("cases/lightgbm"), &Runtime::Tract), Err(EngineError::Network(_))));
}

/// A file that is no model is nobody's: one reason, not two.
#[test]
fn what_is_no_model_is_not_tried_twice() {
    let error = Engine::load(b"no model at all", &Runtime::Auto).unwrap_err();
    assert!(matches!(error, EngineError::Own(_)), "{error}");
    let whole = file("networks/dense");
    let error = Engine::load(&whole[..whole.len() / 2], &Runtime::Auto).unwrap_err();
    assert!(matches!(error, EngineError::Own(_)), "{error}");
}
