//! The epoch log and the table logs: what is needed to replay, in order, until a checkpoint makes it durable.
