"""Surveys: every model of a folder, every observable, every method asked for; results as Parquet."""
