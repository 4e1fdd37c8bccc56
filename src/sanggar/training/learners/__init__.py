"""Learners: what computes a step of training."""
