"""The app, the limit, and the designs it is compared with; a Django app for their tables."""
