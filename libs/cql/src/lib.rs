//! The ScyllaDB or Cassandra window store
