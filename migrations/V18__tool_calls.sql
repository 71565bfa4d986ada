-- Which of the asker's tools the model wants to be called, and with what:
-- [{"id": "...", "name": "...", "arguments": "<JSON>"}, ...].  Who asked calls
-- them; nothing here ever does.  NULL: none.

ALTER TABLE trifecta.job_result ADD COLUMN tool_calls jsonb;
