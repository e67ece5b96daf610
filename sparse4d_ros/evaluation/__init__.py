"""Scores and pictures of tracked objects: plain records in, nuScenes metrics, images and video out."""
