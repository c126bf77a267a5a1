//! The Kafka log: transactions per tick, recovery reads, rebalance, admin
