"""Training: the learner that takes a step, the loop that walks steps, the checkpoint that lets it go on."""
