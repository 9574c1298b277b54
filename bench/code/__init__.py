"""Which code decides a result: digests of syntax trees, that neither comments nor names of local variables change."""
