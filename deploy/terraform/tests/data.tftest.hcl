# terraform test: plans the modules that hold data, creates nothing.

provider "google" {
  project = "my-project"
}

run "the_database_is_private_backed_up_and_protected" {
  command = plan
  module {
    source = "./modules/database"
  }
  variables {
    name              = "caesarion"
    region            = "europe-west1"
    network           = "a-network"
    tier              = "db-custom-4-15360"
    disk_gb           = 50
    high_availability = true
    backups_kept      = 30
    labels            = {}
  }

  assert {
    condition     = one(one(google_sql_database_instance.this.settings).ip_configuration).ipv4_enabled == false && one(one(google_sql_database_instance.this.settings).ip_configuration).ssl_mode == "ENCRYPTED_ONLY"
    error_message = "The database has a private address and speaks TLS only."
  }
  assert {
    condition     = google_sql_database_instance.this.deletion_protection && one(google_sql_database_instance.this.settings).deletion_protection_enabled && one(google_sql_database_instance.this.settings).retain_backups_on_delete
    error_message = "Terraform and Google both refuse to delete it, and its backups outlive it."
  }
  assert {
    condition     = one(one(google_sql_database_instance.this.settings).backup_configuration).point_in_time_recovery_enabled && one(one(google_sql_database_instance.this.settings).backup_configuration).transaction_log_retention_days == 7
    error_message = "The database can be restored to any time of a week."
  }
  assert {
    condition     = one(google_sql_database_instance.this.settings).availability_type == "REGIONAL"
    error_message = "A second zone has a standby."
  }
}

run "a_copy_cannot_be_deleted_and_its_writer_cannot_read" {
  command = plan
  module {
    source = "./modules/backups"
  }
  variables {
    name              = "my-project-caesarion-backups"
    location          = "europe-west1"
    retention_days    = 30
    delete_after_days = 365
    writers           = { backup = "serviceAccount:backup@my-project.iam.gserviceaccount.com" }
    readers           = {}
    labels            = {}
  }

  assert {
    condition     = one(google_storage_bucket.this.retention_policy).retention_period == "2592000"
    error_message = "A copy is locked for 30 days."
  }
  assert {
    condition     = google_storage_bucket.this.force_destroy == false && google_storage_bucket.this.public_access_prevention == "enforced" && google_storage_bucket.this.uniform_bucket_level_access
    error_message = "A bucket with copies cannot be deleted, and is never public."
  }
  assert {
    condition     = google_storage_bucket_iam_member.writers["backup"].role == "roles/storage.objectCreator" && length(google_storage_bucket_iam_member.readers) == 0
    error_message = "Who writes may do nothing else."
  }
}

run "a_tag_names_one_image_for_ever" {
  command = plan
  module {
    source = "./modules/registry"
  }
  variables {
    name    = "caesarion"
    project = "my-project"
    region  = "europe-west1"
    labels  = {}
    readers = { nodes = "serviceAccount:nodes@my-project.iam.gserviceaccount.com" }
    writers = {}
  }

  assert {
    condition     = one(google_artifact_registry_repository.this.docker_config).immutable_tags
    error_message = "A tag is never moved."
  }
  assert {
    condition     = google_artifact_registry_repository_iam_member.readers["nodes"].role == "roles/artifactregistry.reader"
    error_message = "Nodes may pull, not push."
  }
  assert {
    condition     = output.prefix == "europe-west1-docker.pkg.dev/my-project/caesarion"
    error_message = "The prefix is what 'make images REGISTRY=' takes."
  }
}

run "the_budget_tells_before_the_money_is_gone" {
  command = plan
  module {
    source = "./modules/budget"
  }
  variables {
    name            = "caesarion"
    project         = "my-project"
    billing_account = "012345-6789AB-CDEF01"
    amount          = 1000
    currency        = "EUR"
    emails          = ["ops@example.org"]
  }

  assert {
    condition     = [for rule in google_billing_budget.this.threshold_rules : rule.threshold_percent] == [0.5, 0.9, 1, 1]
    error_message = "Letters come at half, at nine tenths, at the whole, and when the whole is foreseen."
  }
}
