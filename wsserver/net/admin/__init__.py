"""The admin port: health, figures, and what a program outside may do to a conversation."""
