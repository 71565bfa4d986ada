-- A question that goes on with the results of tools needs what its earlier
-- answer has called, as far as the asker may read that answer (V11).

GRANT SELECT (tool_calls) ON trifecta.job_result TO trifecta_rag;
