"""What the engine and the pipeline are compared with, each as good as it can be made."""
