"""Answers read: verdicts, consensus, agreement."""
