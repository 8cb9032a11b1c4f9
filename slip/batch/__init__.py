"""Many pictures and prompts: what is asked for, what its results are called, and how they are kept."""
