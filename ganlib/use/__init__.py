"""Using a trained model: pictures of any size through its generators."""
