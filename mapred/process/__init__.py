"""This process and its children, whatever a run is."""
