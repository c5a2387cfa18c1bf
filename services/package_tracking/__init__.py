"""A parcel on its way: scans move it, silence makes it lost, a refusal sends it back."""
