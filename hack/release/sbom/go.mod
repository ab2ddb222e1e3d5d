// What writes the list of what is in a release. It is apart from the operator's
// module, which would have the library in its own list otherwise.
module wechattoken.io/operator/hack/release/sbom

go 1.26.0

require github.com/spdx/tools-golang v0.5.7

require github.com/anchore/go-struct-converter v0.1.0 // indirect
