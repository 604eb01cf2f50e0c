//! Edge checks: schema, epoch order, weights. On in tests and with `--checks`.
