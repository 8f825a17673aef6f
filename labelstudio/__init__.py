"""The annotation backend: it sends queries to experts in Label Studio and brings their answers back.

This package imports neither ``pipeline`` nor torch, mlflow or dvc, so that annotating starts at once.
"""
