"""The meaning of raw answers: verdicts, the consensus of several experts, their agreement."""
