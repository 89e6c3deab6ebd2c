"""One module a revision; `REVISIONS` of `saqueduct.postgres.table_check` lists them."""
