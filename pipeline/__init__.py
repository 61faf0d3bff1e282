"""The stages that turn simulation into trained, judged surrogates, one module each."""
