//! A store in memory, for tests: the same contract, with counted accesses and injected failures.
