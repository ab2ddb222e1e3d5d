package main

// theme has the colours of a drawing. Paper and Ink are those of GitHub's pages.
type theme struct {
	Paper, Cluster, Box   string
	Ink, Soft, Line       string
	Blue, BlueLine        string
	Green, GreenLine      string
	Band, Old, New, OnNew string
}

var light = theme{
	Paper: "#ffffff", Cluster: "#f6f8fa", Box: "#ffffff",
	Ink: "#1f2328", Soft: "#59636e", Line: "#818b98",
	Blue: "#ddf4ff", BlueLine: "#0969da",
	Green: "#dafbe1", GreenLine: "#1a7f37",
	Band: "#fff8c5", Old: "#d1d9e0", New: "#1a7f37", OnNew: "#ffffff",
}

var dark = theme{
	Paper: "#0d1117", Cluster: "#151b23", Box: "#0d1117",
	Ink: "#f0f6fc", Soft: "#9198a1", Line: "#656c76",
	Blue: "#0c2d52", BlueLine: "#4493f8",
	Green: "#10371e", GreenLine: "#3fb950",
	Band: "#3b2f0b", Old: "#3d444d", New: "#1f7a34", OnNew: "#ffffff",
}
