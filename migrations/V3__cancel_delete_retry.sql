-- A job can be deleted by its owner (deleted: when; its request and result
-- are erased, the row stays as a tombstone) and repeated by an operator
-- (retry_of: the job that it repeats).

ALTER TABLE trifecta.job ADD COLUMN deleted  timestamptz;
ALTER TABLE trifecta.job ADD COLUMN retry_of uuid;

-- A caller's own jobs, newest first.

CREATE INDEX job_of_owner ON trifecta.job (tenant, owner, id DESC);

GRANT DELETE ON trifecta.job_result, trifecta.job_step TO trifecta_queue;
