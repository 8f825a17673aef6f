"""The records that pass between the pipeline and the experts: queries, regions, tasks, answers, effects."""
