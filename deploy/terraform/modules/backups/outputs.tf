output "url" {
  description = "The bucket, as gs://..."
  value       = "gs://${google_storage_bucket.this.name}"
}
