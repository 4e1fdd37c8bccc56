"""What one does with a trained model without measuring it."""
