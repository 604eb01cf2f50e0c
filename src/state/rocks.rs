//! The store on RocksDB: one column family, merge operator for weights, prefix bloom for multisets. The only file that knows RocksDB.
