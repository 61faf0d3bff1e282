"""Building blocks of physics-informed surrogates."""
