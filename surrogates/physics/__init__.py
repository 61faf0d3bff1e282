"""Parts of physics-informed surrogates."""
