"""Parts of surrogates of fields on a grid."""
