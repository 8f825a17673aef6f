"""The annotation backend: queries go out to experts in Label Studio, answers come back.

Imports neither ``pipeline`` nor torch, mlflow or dvc, so that annotating starts at once.
"""
