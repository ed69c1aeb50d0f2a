"""What would happen: decisions that send nothing, told as data. The functions that decide are those of the path."""
