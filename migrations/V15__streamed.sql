-- What a job said while it ran, as far as it is not the answer.  The pieces of
-- the answer are job_result.deltas; both together give a replay the same
-- events, with the same numbers, as those that were read live.
--
--   search   true: its last attempt said that it has looked up what it needs
--   earlier  [[piece, ...], ...]: what is void, because another attempt began
--            or because the attempt itself began anew
--   marks    [[attempt, 0 or 1], ...]: of each element of "earlier", and then
--            of the answer, the attempt, and whether it said that it has
--            looked up what it needs.  Two of one attempt in a row: it began
--            anew in between, and said so.  Only there with "earlier"
--   last     [piece, ...]: of the last attempt, when it has not succeeded
--
-- NULL: there is nothing of that.

ALTER TABLE trifecta.job ADD COLUMN streamed jsonb;
