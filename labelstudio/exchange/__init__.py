"""What travels between the pipeline and the experts: queries, regions, tasks, answers."""
