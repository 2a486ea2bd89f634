"""The registry: numbered versions of taught models, in a folder or a bucket.

`Registry` reads and changes the index; `FolderStorage` and `BucketStorage` hold the files.
"""
