#!/bin/sh
# What a pipeline does: build and push two versions, deploy, test, roll forward and back; the cluster goes whatever
# happens. Needs root, docker, kubectl, curl and a registry on port 5000 of this machine (see README.md).
set -eu
cd "$(dirname "$0")"
clusters="${KUBELITE:-kubelite} cluster ${KUBELITE_FLAGS:-}"
cluster=${CLUSTER:-ci-$$}
port=${PORT:-18080}
registry=localhost:5000                # as the machine names it
inside=host.kubelite.internal:5000     # as the nodes name it

build() {
    cp "$(command -v busybox)" app/busybox
    docker build --quiet --build-arg "VERSION=$1" --tag "$registry/app:$1" app
    docker push --quiet "$registry/app:$1"
}

# The rollout tells when all new pods are Ready; the ingress follows within a moment.
answers() {
    kubectl rollout status deployment/app --timeout=60s
    for _ in $(seq 50); do
        said=$(curl -sf -m 2 "http://127.0.0.1:$port/" || :)
        [ "$said" = "version $1" ] && echo "the application answers: $said" && return
        sleep 0.2
    done
    echo "the application answers '$said' instead of version $1" >&2
    kubectl get pods,events >&2
    return 1
}

trap '$clusters delete "$cluster"; rm -f app/busybox' EXIT
build 1
build 2
$clusters create "$cluster" --agents "${AGENTS:-0}" --port "$port:80@ingress"
KUBECONFIG=$(mktemp)
export KUBECONFIG
$clusters kubeconfig "$cluster" >"$KUBECONFIG"

kubectl apply -f app.yaml
answers 1
kubectl set image deployment/app "app=$inside/app:2"
answers 2
kubectl rollout undo deployment/app
answers 1
rm -f "$KUBECONFIG"
