"""Pure constructors of the manifests that the operator applies; a test beside each."""
