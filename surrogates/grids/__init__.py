"""Inputs, losses and constraints of surrogates of fields on a grid."""
