# A regional GKE cluster with private nodes.

resource "google_container_cluster" "this" {
  name           = var.name
  location       = var.region
  node_locations = length(var.zones) > 0 ? var.zones : null

  network         = var.network
  subnetwork      = var.subnetwork
  networking_mode = "VPC_NATIVE"

  ip_allocation_policy {
    cluster_secondary_range_name  = "pods"
    services_secondary_range_name = "services"
  }

  # Enforces the chart's network policies.
  datapath_provider = "ADVANCED_DATAPATH"

  private_cluster_config {
    enable_private_nodes    = true
    enable_private_endpoint = length(var.authorized_networks) == 0
    master_ipv4_cidr_block  = var.control_plane_range
  }

  master_authorized_networks_config {
    gcp_public_cidrs_access_enabled = false

    dynamic "cidr_blocks" {
      for_each = merge({ nodes = var.nodes_range }, var.authorized_networks)
      content {
        display_name = cidr_blocks.key
        cidr_block   = cidr_blocks.value
      }
    }
  }

  workload_identity_config {
    workload_pool = "${var.project}.svc.id.goog"
  }

  gateway_api_config {
    channel = "CHANNEL_STANDARD"
  }

  release_channel {
    channel = var.release_channel
  }

  maintenance_policy {
    recurring_window {
      start_time = var.maintenance_window.start
      end_time   = timeadd(var.maintenance_window.start, "${var.maintenance_window.hours}h")
      recurrence = "FREQ=WEEKLY;BYDAY=${join(",", var.maintenance_window.days)}"
    }
  }

  enable_shielded_nodes = true

  logging_config {
    enable_components = ["SYSTEM_COMPONENTS", "WORKLOADS"]
  }

  monitoring_config {
    enable_components = ["SYSTEM_COMPONENTS"]
    managed_prometheus {
      enabled = true
    }
  }

  security_posture_config {
    mode               = "BASIC"
    vulnerability_mode = "VULNERABILITY_BASIC"
  }

  addons_config {
    gce_persistent_disk_csi_driver_config {
      enabled = true
    }
  }

  # Nodes that nobody uses go sooner.
  cluster_autoscaling {
    enabled             = false # creates no pools
    autoscaling_profile = "OPTIMIZE_UTILIZATION"
  }

  # A cluster comes with a pool; ours are below. These are the settings for its few minutes.
  remove_default_node_pool = true
  initial_node_count       = 1

  node_config {
    service_account = var.nodes_service_account
    shielded_instance_config {
      enable_secure_boot = true
    }
    workload_metadata_config {
      mode = "GKE_METADATA"
    }
  }

  resource_labels     = var.labels
  deletion_protection = var.deletion_protection

  lifecycle {
    ignore_changes = [node_config] # of a pool that is gone
  }
}

locals {
  # GKE labels spot nodes and taints nodes with a GPU by itself. Labels and taints are also in the
  # root module's output "values", from which users' pods get selectors and tolerations.
  pools = merge(
    { core = merge(var.pools.core, { spot = false, accelerator = null, labels = { pool = "core" }, taints = {} }) },
    { users = merge(var.pools.users, { spot = false, accelerator = null, labels = { pool = "users" }, taints = { dedicated = "users" } }) },
    var.pools.users_spot == null ? {} : {
      users-spot = merge(var.pools.users_spot, { spot = true, accelerator = null, labels = { pool = "users-spot" }, taints = { dedicated = "users", "cloud.google.com/gke-spot" = "true" } })
    },
    var.pools.gpu == null ? {} : {
      gpu = merge(var.pools.gpu, { labels = { pool = "gpu" }, taints = { dedicated = "users" } })
    },
  )
}

resource "google_container_node_pool" "this" {
  for_each = local.pools

  name     = each.key
  cluster  = google_container_cluster.this.id
  location = var.region

  autoscaling {
    total_min_node_count = each.value.min_nodes
    total_max_node_count = each.value.max_nodes
    location_policy      = each.value.spot ? "ANY" : "BALANCED"
  }

  management {
    auto_repair  = true
    auto_upgrade = true
  }

  upgrade_settings {
    strategy        = "SURGE"
    max_surge       = 1
    max_unavailable = 0
  }

  node_config {
    machine_type    = each.value.machine_type
    disk_size_gb    = each.value.disk_gb
    disk_type       = "pd-balanced"
    image_type      = "COS_CONTAINERD"
    spot            = each.value.spot
    service_account = var.nodes_service_account
    oauth_scopes    = ["https://www.googleapis.com/auth/cloud-platform"] # the account's roles decide
    labels          = each.value.labels
    resource_labels = var.labels

    dynamic "taint" {
      for_each = each.value.taints
      content {
        key    = taint.key
        value  = taint.value
        effect = "NO_SCHEDULE"
      }
    }

    dynamic "guest_accelerator" {
      for_each = each.value.accelerator == null ? [] : [each.value.accelerator]
      content {
        type  = guest_accelerator.value.type
        count = guest_accelerator.value.count
        gpu_driver_installation_config {
          gpu_driver_version = "DEFAULT"
        }
      }
    }

    shielded_instance_config {
      enable_secure_boot          = true
      enable_integrity_monitoring = true
    }

    workload_metadata_config {
      mode = "GKE_METADATA"
    }

    metadata = {
      disable-legacy-endpoints = "true"
    }
  }
}
