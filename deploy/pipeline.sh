#!/usr/bin/env bash
# One step of the pipeline: deploy/pipeline.sh STEP. Jenkins and GitHub call the same ones, so a
# step runs on your machine too. docs/delivery.md lists what each needs.
#
#   REGISTRY    the registry's host and folder, such as ghcr.io/my-organisation/caesarion
#   PLATFORMS   of the images; default linux/amd64,linux/arm64
#   BASE        another base of the images, see docs/images.md
#   COSIGN_KEY  the file of cosign's private key, its password in COSIGN_PASSWORD; without it
#               cosign signs with the pipeline's identity (GitHub)
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' extension/caesarion/__init__.py)
platforms=${PLATFORMS:-linux/amd64,linux/arm64}
tools=$PWD/.venv/tools/bin
images=(hub singleuser)

need() {
  for name in "$@"; do
    [ -n "${!name:-}" ] || { echo "$step needs the variable $name." >&2; exit 2; }
  done
}

dockerfile() { case $1 in hub) echo hub_config/Dockerfile ;; *) echo singleuser_image/Dockerfile ;; esac; }
digest() { cat "dist/images/$1.digest"; }
each_platform() { tr , '\n' <<<"$platforms"; }

lint() { make check; }

tests() { make test; }

# Both images for every platform, as OCI layouts in dist/images.
images() {
  local image created revision
  mkdir -p dist/images
  created=$(git log -1 --format=%cI)
  revision=$(git rev-parse HEAD)
  for image in "${images[@]}"; do
    rm -rf "dist/images/$image"
    buildah manifest rm "caesarion-$image" >/dev/null 2>&1 || true
    buildah build --platform "$platforms" --manifest "caesarion-$image" \
      --file "$(dockerfile "$image")" --build-arg "VERSION=$version" \
      ${BASE:+--build-arg "BASE=$BASE"} \
      --label "org.opencontainers.image.revision=$revision" \
      --label "org.opencontainers.image.created=$created" .
    buildah manifest push --all "caesarion-$image" "oci:dist/images/$image:$version"
    python3 -m deploy.image_check "$image" "dist/images/$image"
  done
}

# One SPDX file for each image and platform, in dist/sbom.
sbom() {
  local image platform name
  make -s .venv/.tools
  mkdir -p dist/sbom dist/platforms
  export SYFT_CHECK_FOR_APP_UPDATE=false
  for image in "${images[@]}"; do
    for platform in $(each_platform); do
      # syft reads a layout of one platform only.
      name=$image-${platform##*/}
      rm -rf "dist/platforms/$name"
      skopeo copy --quiet --override-os "${platform%%/*}" --override-arch "${platform##*/}" \
        "oci:dist/images/$image:$version" "oci:dist/platforms/$name"
      "$tools/syft" scan --quiet "oci-dir:dist/platforms/$name" \
        --source-name "caesarion-$image" --source-version "$version" \
        --output "spdx-json=dist/sbom/$name.spdx.json"
    done
  done
}

# Ends with 1 if a package in an image has a serious flaw for which there is a fix.
scan() {
  local file
  make -s .venv/.deploy
  for file in dist/sbom/*.spdx.json; do
    .venv/deploy/bin/trivy sbom --quiet --exit-code 1 --severity HIGH,CRITICAL --ignore-unfixed "$file"
  done
}

chart() {
  make -s .venv/.helm
  .venv/bin/helm package helm/caesarion --destination dist
}

# Images and chart to the registry; what was pushed is named by its digest from here on.
push() {
  need REGISTRY REGISTRY_LOGIN_USR REGISTRY_LOGIN_PSW
  local image
  buildah login --username "$REGISTRY_LOGIN_USR" --password-stdin "${REGISTRY%%/*}" <<<"$REGISTRY_LOGIN_PSW"
  .venv/bin/helm registry login --username "$REGISTRY_LOGIN_USR" --password-stdin "${REGISTRY%%/*}" <<<"$REGISTRY_LOGIN_PSW"
  for image in "${images[@]}"; do
    buildah manifest push --all --digestfile "dist/images/$image.digest" \
      "caesarion-$image" "docker://$REGISTRY/$image:$version"
  done
  .venv/bin/helm push "dist/caesarion-$version.tgz" "oci://$REGISTRY/charts"
}

# The images, and each SBOM as a statement about its image.
sign() {
  need REGISTRY
  pushed
  local image file key=()
  [ -z "${COSIGN_KEY:-}" ] || key=(--key "$COSIGN_KEY")
  for image in "${images[@]}"; do
    cosign sign --yes --recursive "${key[@]}" "$REGISTRY/$image@$(digest "$image")"
    for file in dist/sbom/"$image"-*.spdx.json; do
      cosign attest --yes "${key[@]}" --type spdxjson --predicate "$file" \
        "$REGISTRY/$image@$(digest "$image")"
    done
  done
}

pushed() {
  local image
  for image in "${images[@]}"; do
    [ -s "dist/images/$image.digest" ] || {
      echo "$step needs dist/images/$image.digest: run deploy/pipeline.sh push first." >&2
      exit 2
    }
  done
}

# The options of helm for an environment: its values, and the images by digest.
release_options() {
  echo --values "deploy/values/$1.yaml"
  [ -z "${VALUES:-}" ] || echo --values "$VALUES"
  for image in "${images[@]}"; do
    echo --set "$image.image.name=$REGISTRY/$image" --set "$image.image.tag=$version@$(digest "$image")"
  done
}

staging() {
  need REGISTRY KUBECONFIG
  pushed
  # shellcheck disable=SC2046  # options without spaces
  .venv/bin/helm upgrade --install caesarion "dist/caesarion-$version.tgz" \
    --namespace caesarion --create-namespace --wait --timeout 10m $(release_options staging)
}

smoke() {
  need STAGING_URL
  python3 -m deploy.bluegreen.smoke "$STAGING_URL"
}

production() {
  need REGISTRY KUBECONFIG PRODUCTION_URL GATEWAY
  pushed
  local host=${PRODUCTION_URL#*://}
  host=${host%%/*}
  export PATH=$PWD/.venv/bin:$PATH
  # shellcheck disable=SC2046
  python3 -m deploy.bluegreen deploy --gateway "$GATEWAY" --url "$PRODUCTION_URL" \
    --hostname "$host" --hostname "*.$host" \
    --chart "dist/caesarion-$version.tgz" $(release_options production)
}

# What anybody runs before they install: were these images signed by this pipeline?
verify() {
  need REGISTRY
  local image by
  if [ -n "${COSIGN_PUBLIC_KEY:-}" ]; then
    by=(--key "$COSIGN_PUBLIC_KEY")
  else
    need IDENTITY
    by=(--certificate-identity-regexp "$IDENTITY"
      --certificate-oidc-issuer https://token.actions.githubusercontent.com)
  fi
  for image in "${images[@]}"; do
    cosign verify "${by[@]}" "$REGISTRY/$image:$version"
  done
}

step=${1:-}
case $step in
  lint | images | sbom | scan | chart | push | sign | staging | smoke | production | verify) "$step" ;;
  test) tests ;;
  *)
    echo "deploy/pipeline.sh lint|test|images|sbom|scan|chart|push|sign|staging|smoke|production|verify" >&2
    exit 2
    ;;
esac
