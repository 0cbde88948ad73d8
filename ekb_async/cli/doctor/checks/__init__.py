"""The checks of `ekb doctor`, by subject: each a function from the examination to a finding."""
