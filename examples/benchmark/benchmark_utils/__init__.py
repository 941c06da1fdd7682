"""What the files of the solver benchmark share; benchopt imports it under this name."""
