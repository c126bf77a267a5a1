//! Avro and JSON to and from the model, from schemas/
