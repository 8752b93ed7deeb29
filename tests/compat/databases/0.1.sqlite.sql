BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('3');
CREATE TABLE audit (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	at DOUBLE NOT NULL, 
	actor VARCHAR NOT NULL, 
	tenant VARCHAR NOT NULL, 
	action VARCHAR NOT NULL, 
	data JSON NOT NULL
);
INSERT INTO "audit" VALUES(1,1795852800.0,'cnserve up','demo','tenant.added','{"before": null, "after": {"weight": 1.0, "limits": {}}, "keys_revoked": 0}');
INSERT INTO "audit" VALUES(2,1795852800.0,'cnserve up','atelier','tenant.added','{"before": null, "after": {"weight": 2.0, "limits": {"requests_per_minute": 600, "queued_jobs": 20, "images_per_day": 500, "gflop_per_day": 1000000.0, "max_pixels": 1048576, "max_steps": 50, "max_images": 8, "retention_days": 7, "models": ["controlnet-demo"]}}, "keys_revoked": 0}');
INSERT INTO "audit" VALUES(3,1795852800.0,'cnserve up','former','tenant.added','{"before": null, "after": {"weight": 1.0, "limits": {}}, "keys_revoked": 0}');
INSERT INTO "audit" VALUES(4,1795852800.0,'shell:root','demo','key.created','{"id": "aeaqcaibae", "role": "admin", "name": "admin", "expires_at": null}');
INSERT INTO "audit" VALUES(5,1795852800.0,'shell:root','demo','key.created','{"id": "aibaeaqcai", "role": "member", "name": "member", "expires_at": 1895852800.0}');
INSERT INTO "audit" VALUES(6,1795852800.0,'shell:root','demo','key.created','{"id": "ambqgaydam", "role": "viewer", "name": "viewer", "expires_at": null}');
INSERT INTO "audit" VALUES(7,1795852800.0,'shell:root','demo','key.created','{"id": "aqcaibaeaq", "role": "member", "name": "expired", "expires_at": 1795852860.0}');
INSERT INTO "audit" VALUES(8,1795852800.0,'shell:root','demo','key.created','{"id": "aucqkbifau", "role": "member", "name": "revoked", "expires_at": null}');
INSERT INTO "audit" VALUES(9,1795852800.0,'shell:root','demo','key.created','{"id": "aydambqgay", "role": "member", "name": "rotated", "expires_at": null}');
INSERT INTO "audit" VALUES(10,1795852800.0,'shell:root','atelier','key.created','{"id": "a4dqobyha4", "role": "admin", "name": "atelier", "expires_at": null}');
INSERT INTO "audit" VALUES(11,1795852800.0,'shell:root','former','key.created','{"id": "baeaqcaiba", "role": "member", "name": "of a team that is gone", "expires_at": null}');
INSERT INTO "audit" VALUES(12,1795852800.0,'key:aeaqcaibae','demo','key.revoked','{"id": "aucqkbifau", "name": "revoked"}');
INSERT INTO "audit" VALUES(13,1795852800.0,'key:aeaqcaibae','demo','key.rotated','{"id": "beeqscijbe", "role": "member", "name": "rotated", "expires_at": 1798444800.0, "replaces": "aydambqgay"}');
INSERT INTO "audit" VALUES(14,1795852900.0,'cnserve up','atelier','tenant.changed','{"before": {"weight": 2.0, "limits": {"requests_per_minute": 600, "queued_jobs": 20, "images_per_day": 500, "gflop_per_day": 1000000.0, "max_pixels": 1048576, "max_steps": 50, "max_images": 8, "retention_days": 7, "models": ["controlnet-demo"]}}, "after": {"weight": 3.0, "limits": {"requests_per_minute": 600, "queued_jobs": 20, "images_per_day": 500, "gflop_per_day": 1000000.0, "max_pixels": 1048576, "max_steps": 50, "max_images": 8, "retention_days": 7, "models": ["controlnet-demo"]}}, "keys_revoked": 0}');
INSERT INTO "audit" VALUES(15,1795852900.0,'cnserve up','former','tenant.removed','{"before": {"weight": 1.0, "limits": {}}, "after": null, "keys_revoked": 1}');
CREATE TABLE condemned (
	"key" VARCHAR NOT NULL, 
	at DOUBLE NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "condemned" VALUES('demo/c6/c669ccd8d011415e79abfaa8bd2589d697ec340fb9e0605bc119953748102655.png',1795853106.75);
INSERT INTO "condemned" VALUES('demo/d6/d69009621e8d860693928f55373123ae218f156ea9e39ee17aa5de4e5046080c.png',1795853106.75);
CREATE TABLE deliveries (
	id VARCHAR NOT NULL, 
	job_id VARCHAR NOT NULL, 
	tenant VARCHAR NOT NULL, 
	url VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	attempt INTEGER NOT NULL, 
	due_at DOUBLE, 
	problem VARCHAR, 
	created_at DOUBLE NOT NULL, 
	finished_at DOUBLE, 
	PRIMARY KEY (id), 
	UNIQUE (job_id), 
	FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
);
INSERT INTO "deliveries" VALUES('dlv_01a2212ca73a89eb2f1e7bd5d47ecec2','job_01a2212c9e70c4bb86c3d1c427104c41','demo','https://hooks.example.com/done','delivered',2,NULL,NULL,1795852904.25,1795852910.25);
INSERT INTO "deliveries" VALUES('dlv_01a2212cc38c96762e6116c6e9c9bf35','job_01a2212cc292a3d811736110e578cea6','demo','https://hooks.example.com/done','abandoned',12,NULL,'no route to host',1795852911.5,1795852977.5);
INSERT INTO "deliveries" VALUES('dlv_01a2212fbe3e420c13f8f5d40f6cd1b9','job_01a2212fbe3ecf999661f967bdaf7337','demo','https://hooks.example.com/done','pending',0,1795853106.75,NULL,1795853106.75,NULL);
CREATE TABLE events (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	job_id VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	data JSON NOT NULL, 
	at DOUBLE NOT NULL, 
	FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
);
INSERT INTO "events" VALUES(1,'job_01a2212c9e70c4bb86c3d1c427104c41','queued','{"attempt": 0}',1795852902.0);
INSERT INTO "events" VALUES(2,'job_01a2212c9e70c4bb86c3d1c427104c41','started','{"attempt": 1}',1795852902.25);
INSERT INTO "events" VALUES(3,'job_01a2212c9e70c4bb86c3d1c427104c41','annotated','{"control_maps": [{"key": "demo/a0/a050ed355ea4eaf2fb37cd325f6ea547da543d4323f7f6687432689f00c274f2.png", "type": "canny", "index": 0}]}',1795852903.25);
INSERT INTO "events" VALUES(4,'job_01a2212c9e70c4bb86c3d1c427104c41','image','{"index": 0, "image": {"key": "demo/f5/f5a544fa86e6318845f2addabda8d4808cc04dcb5edf7d1a846a74e927c432db.png", "seed": 100, "width": 128, "height": 96}}',1795852903.25);
INSERT INTO "events" VALUES(5,'job_01a2212c9e70c4bb86c3d1c427104c41','image','{"index": 1, "image": {"key": "demo/76/76bd45787ccb6f58010a5900971e412d33e61a0e44fff84a2f355d0ad47a8767.png", "seed": 101, "width": 128, "height": 96}}',1795852904.25);
INSERT INTO "events" VALUES(6,'job_01a2212c9e70c4bb86c3d1c427104c41','succeeded','{}',1795852904.25);
INSERT INTO "events" VALUES(7,'job_01a2212cc292a3d811736110e578cea6','queued','{"attempt": 0}',1795852911.25);
INSERT INTO "events" VALUES(8,'job_01a2212cc292a3d811736110e578cea6','started','{"attempt": 1}',1795852911.5);
INSERT INTO "events" VALUES(9,'job_01a2212cc292a3d811736110e578cea6','failed','{"attempt": 1, "problem": {"type": "invalid-request", "title": "The request is not valid", "status": 422, "detail": "No picture.", "field": "controls.0.image"}}',1795852911.5);
INSERT INTO "events" VALUES(10,'job_01a2212de0b48c2e0718822ce47c4107','queued','{"attempt": 0}',1795852984.5);
INSERT INTO "events" VALUES(11,'job_01a2212de0b48c2e0718822ce47c4107','started','{"attempt": 1}',1795852984.75);
INSERT INTO "events" VALUES(12,'job_01a2212de0b48c2e0718822ce47c4107','annotated','{"control_maps": [{"key": "demo/d6/d69009621e8d860693928f55373123ae218f156ea9e39ee17aa5de4e5046080c.png", "type": "canny", "index": 0}]}',1795852985.75);
INSERT INTO "events" VALUES(13,'job_01a2212de0b48c2e0718822ce47c4107','image','{"index": 0, "image": {"key": "demo/66/6667f239eb71e6035ddfbb9ae05ad7e1229512eba9cc73559fd7e50ba4e2b2a8.png", "seed": 300, "width": 128, "height": 96}}',1795852985.75);
INSERT INTO "events" VALUES(14,'job_01a2212de0b48c2e0718822ce47c4107','image','{"index": 1, "image": {"key": "demo/44/44f46d3b76aac2f1da31a0c189338679cb121f28536ddb4b05f2ed4593dfb6da.png", "seed": 301, "width": 128, "height": 96}}',1795852986.75);
INSERT INTO "events" VALUES(15,'job_01a2212de0b48c2e0718822ce47c4107','succeeded','{}',1795852986.75);
INSERT INTO "events" VALUES(16,'job_01a2212ded66e66cb0e4b2b3f4d5ca63','queued','{"attempt": 0}',1795852987.75);
INSERT INTO "events" VALUES(17,'job_01a2212ded66e66cb0e4b2b3f4d5ca63','started','{"attempt": 1}',1795852988.0);
INSERT INTO "events" VALUES(18,'job_01a2212ded66e66cb0e4b2b3f4d5ca63','queued','{"attempt": 1, "problem": {"type": "job-failed", "title": "The job failed", "status": 500, "detail": "The worker went silent during attempt 1 of 3."}}',1795853019.25);
INSERT INTO "events" VALUES(19,'job_01a2212ded66e66cb0e4b2b3f4d5ca63','started','{"attempt": 2}',1795853019.25);
INSERT INTO "events" VALUES(20,'job_01a2212ded66e66cb0e4b2b3f4d5ca63','queued','{"attempt": 2, "problem": {"type": "job-failed", "title": "The job failed", "status": 500, "detail": "The worker went silent during attempt 2 of 3."}}',1795853050.5);
INSERT INTO "events" VALUES(21,'job_01a2212ded66e66cb0e4b2b3f4d5ca63','started','{"attempt": 3}',1795853050.5);
INSERT INTO "events" VALUES(22,'job_01a2212ded66e66cb0e4b2b3f4d5ca63','failed','{"attempt": 3, "problem": {"type": "job-failed", "title": "The job failed", "status": 500, "detail": "The worker went silent during attempt 3 of 3."}}',1795853081.5);
INSERT INTO "events" VALUES(23,'job_01a2212f5f8486d2c96e760e819b24c3','queued','{"attempt": 0}',1795853082.5);
INSERT INTO "events" VALUES(24,'job_01a2212f5f8486d2c96e760e819b24c3','started','{"attempt": 1}',1795853082.75);
INSERT INTO "events" VALUES(25,'job_01a2212f5f8486d2c96e760e819b24c3','queued','{"attempt": 1, "problem": {"type": "job-failed", "title": "The job failed", "status": 500, "detail": "The worker was lost."}}',1795853082.75);
INSERT INTO "events" VALUES(26,'job_01a2212f5f8486d2c96e760e819b24c3','started','{"attempt": 2}',1795853083.0);
INSERT INTO "events" VALUES(27,'job_01a2212f5f8486d2c96e760e819b24c3','annotated','{"control_maps": [{"key": "demo/7e/7e0c385175406c7a2e6fd4163a95e80224d8a4f91c5e186c9bbf761502583f0c.png", "type": "canny", "index": 0}]}',1795853084.0);
INSERT INTO "events" VALUES(28,'job_01a2212f5f8486d2c96e760e819b24c3','image','{"index": 0, "image": {"key": "demo/19/19e9a2417f88577fdc747d7e698e03ac8c01645475e88984d0f5ae911bfef97e.png", "seed": 500, "width": 128, "height": 96}}',1795853084.0);
INSERT INTO "events" VALUES(29,'job_01a2212f5f8486d2c96e760e819b24c3','image','{"index": 1, "image": {"key": "demo/32/32631a7727c5cec3b92c40cb92763725328d146fed1b7633dd27c5bfdfd4967e.png", "seed": 501, "width": 128, "height": 96}}',1795853085.0);
INSERT INTO "events" VALUES(30,'job_01a2212f5f8486d2c96e760e819b24c3','succeeded','{}',1795853085.0);
INSERT INTO "events" VALUES(31,'job_01a2212f6d30597164c4a6058a0022b2','queued','{"attempt": 0}',1795853086.0);
INSERT INTO "events" VALUES(32,'job_01a2212f6d30597164c4a6058a0022b2','started','{"attempt": 1}',1795853086.25);
INSERT INTO "events" VALUES(33,'job_01a2212f6d30597164c4a6058a0022b2','queued','{"attempt": 1, "problem": {"type": "job-failed", "title": "The job failed", "status": 500, "detail": "Out of memory."}}',1795853086.25);
INSERT INTO "events" VALUES(34,'job_01a2212f6d30597164c4a6058a0022b2','started','{"attempt": 2}',1795853086.5);
INSERT INTO "events" VALUES(35,'job_01a2212f6d30597164c4a6058a0022b2','queued','{"attempt": 2, "problem": {"type": "job-failed", "title": "The job failed", "status": 500, "detail": "Out of memory."}}',1795853086.5);
INSERT INTO "events" VALUES(36,'job_01a2212f6d30597164c4a6058a0022b2','started','{"attempt": 3}',1795853086.75);
INSERT INTO "events" VALUES(37,'job_01a2212f6d30597164c4a6058a0022b2','failed','{"attempt": 3, "problem": {"type": "job-failed", "title": "The job failed", "status": 500, "detail": "Out of memory."}}',1795853086.75);
INSERT INTO "events" VALUES(38,'job_01a2212f74062de50472433d2e44b6b8','queued','{"attempt": 0}',1795853087.75);
INSERT INTO "events" VALUES(39,'job_01a2212f74062de50472433d2e44b6b8','failed','{"attempt": 0, "problem": {"type": "deadline-missed", "title": "The deadline was missed", "status": 504, "detail": "The deadline could not be met any more, so the job was not started."}}',1795853093.75);
INSERT INTO "events" VALUES(40,'job_01a2212f8f5e357e44cd3129903a5597','queued','{"attempt": 0}',1795853094.75);
INSERT INTO "events" VALUES(41,'job_01a2212f8f5e357e44cd3129903a5597','cancelled','{}',1795853094.75);
INSERT INTO "events" VALUES(42,'job_01a2212f9346a242fdf11f8f2b1ac3e6','queued','{"attempt": 0}',1795853095.75);
INSERT INTO "events" VALUES(43,'job_01a2212f9346a242fdf11f8f2b1ac3e6','started','{"attempt": 1}',1795853096.0);
INSERT INTO "events" VALUES(44,'job_01a2212f9346a242fdf11f8f2b1ac3e6','cancelled','{}',1795853096.0);
INSERT INTO "events" VALUES(45,'job_01a2212f982893114351dcbed407b605','queued','{"attempt": 0}',1795853097.0);
INSERT INTO "events" VALUES(46,'job_01a2212f982893114351dcbed407b605','started','{"attempt": 1}',1795853097.25);
INSERT INTO "events" VALUES(47,'job_01a2212f982893114351dcbed407b605','annotated','{"control_maps": [{"key": "demo/6b/6b56dcf932f7b3f9339d74a19314a609d830fa142b7ee747c94e966a21eed26a.png", "type": "canny", "index": 0}]}',1795853098.25);
INSERT INTO "events" VALUES(48,'job_01a2212f982893114351dcbed407b605','succeeded','{}',1795853099.25);
INSERT INTO "events" VALUES(49,'job_01a2212fa4dab99e8306dda748a69a8a','queued','{"attempt": 0}',1795853100.25);
INSERT INTO "events" VALUES(50,'job_01a2212fa4dab99e8306dda748a69a8a','started','{"attempt": 1}',1795853100.5);
INSERT INTO "events" VALUES(51,'job_01a2212fa4dab99e8306dda748a69a8a','image','{"index": 0, "image": {"key": "demo/55/55ae0f42cd8c693868f2934d96cf9233797b3cc488359f56580dbb5014ad19c4.png", "seed": 1100, "width": 128, "height": 96}}',1795853101.5);
INSERT INTO "events" VALUES(52,'job_01a2212fa4dab99e8306dda748a69a8a','image','{"index": 1, "image": {"key": "demo/4c/4c13016880be4d282c0450be9ffddd553ddd8796b019edd9c4333754fb33fd69.png", "seed": 1101, "width": 128, "height": 96}}',1795853102.5);
INSERT INTO "events" VALUES(53,'job_01a2212fa4dab99e8306dda748a69a8a','succeeded','{}',1795853102.5);
INSERT INTO "events" VALUES(54,'job_01a2212fb18c3f415b024a146cf098e1','queued','{"attempt": 0}',1795853103.5);
INSERT INTO "events" VALUES(55,'job_01a2212fb18c3f415b024a146cf098e1','started','{"attempt": 1}',1795853103.75);
INSERT INTO "events" VALUES(56,'job_01a2212fb18c3f415b024a146cf098e1','annotated','{"control_maps": [{"key": "atelier/47/47483206de59d3738ae6954b8227c8ff82fa7254c8160af5dd9fe057f62784b0.png", "type": "canny", "index": 0}]}',1795853104.75);
INSERT INTO "events" VALUES(57,'job_01a2212fb18c3f415b024a146cf098e1','image','{"index": 0, "image": {"key": "atelier/b2/b26ee72050e088877d9504a51ad44db0ee748ac4fa1be88441fbeaf2a983dbf7.png", "seed": 1200, "width": 128, "height": 96}}',1795853104.75);
INSERT INTO "events" VALUES(58,'job_01a2212fb18c3f415b024a146cf098e1','image','{"index": 1, "image": {"key": "atelier/66/6666abb8eabe69c2ac5d16f5b0763e5560e7f00977364dc7081859bf0167a89e.png", "seed": 1201, "width": 128, "height": 96}}',1795853105.75);
INSERT INTO "events" VALUES(59,'job_01a2212fb18c3f415b024a146cf098e1','succeeded','{}',1795853105.75);
INSERT INTO "events" VALUES(60,'job_01a2212fbe3ecf999661f967bdaf7337','queued','{"attempt": 0}',1795853106.75);
INSERT INTO "events" VALUES(61,'job_01a2212fbe3ecf999661f967bdaf7337','cancelled','{}',1795853106.75);
INSERT INTO "events" VALUES(62,'job_01a2212fc22687376f07bcb81287c038','queued','{"attempt": 0}',1795853107.75);
INSERT INTO "events" VALUES(63,'job_01a2212fc22687376f07bcb81287c038','started','{"attempt": 1}',1795853108.0);
INSERT INTO "events" VALUES(64,'job_01a2212fc22687376f07bcb81287c038','annotated','{"control_maps": [{"key": "demo/36/3658643bc11a947b875f8058ceb6e5cae18e9e405b79faa6d2c056979f3d9fbc.png", "type": "canny", "index": 0}]}',1795853108.0);
INSERT INTO "events" VALUES(65,'job_01a2212fc22687376f07bcb81287c038','image','{"index": 0, "image": {"key": "demo/2e/2e2080e2cd7ceb2429f7b44ca59e42686da9874eb0c44703d55110fc658bebce.png", "seed": 1400, "width": 128, "height": 96}}',1795853108.0);
INSERT INTO "events" VALUES(66,'job_01a2212fc7088fe881c3a06619706df0','queued','{"attempt": 0}',1795853109.0);
INSERT INTO "events" VALUES(67,'job_01a2212fc7088fe881c3a06619706df0','started','{"attempt": 1}',1795853109.25);
INSERT INTO "events" VALUES(68,'job_01a2212fcbea148ded7e8a34888dab3b','queued','{"attempt": 0}',1795853110.25);
INSERT INTO "events" VALUES(69,'job_01a2212fcbea148ded7e8a34888dab3b','started','{"attempt": 1}',1795853110.5);
INSERT INTO "events" VALUES(70,'job_01a2212fd0cc80d27f58df111a3b45ad','queued','{"attempt": 0}',1795853111.5);
INSERT INTO "events" VALUES(71,'job_01a2212fd0cc80d27f58df111a3b45ad','started','{"attempt": 1}',1795853111.75);
INSERT INTO "events" VALUES(72,'job_01a2212fd0cc80d27f58df111a3b45ad','queued','{"attempt": 1, "problem": {"type": "job-failed", "title": "The job failed", "status": 500, "detail": "The worker was lost."}}',1795853111.75);
INSERT INTO "events" VALUES(73,'job_01a2212fd5aea90802389a78cdc2a875','queued','{"attempt": 0}',1795853112.75);
INSERT INTO "events" VALUES(74,'job_01a2212fd996f74ac6f3aa202f4a2fed','queued','{"attempt": 0}',1795853113.75);
INSERT INTO "events" VALUES(75,'job_01a2212fdd7e75598005bac48a6a6bd6','queued','{"attempt": 0}',1795853114.75);
INSERT INTO "events" VALUES(76,'job_01a2212fe166f0a890ea47ca738e14ec','queued','{"attempt": 0}',1795853115.75);
INSERT INTO "events" VALUES(77,'job_01a2212fe936d46d44e5a833b3b827f9','queued','{"attempt": 0}',1795853117.75);
INSERT INTO "events" VALUES(78,'job_01a2212fed1e5ce301e94a2599ab9930','queued','{"attempt": 0}',1795853118.75);
CREATE TABLE holds (
	"key" VARCHAR NOT NULL, 
	holder VARCHAR NOT NULL, 
	PRIMARY KEY ("key", holder)
);
INSERT INTO "holds" VALUES('demo/1c/1cba4d13d81a3561a38a2252f60f117d45e86d6673adc123d9760c4eb0eeae01.png','job_01a2212c9e70c4bb86c3d1c427104c41');
INSERT INTO "holds" VALUES('demo/a0/a050ed355ea4eaf2fb37cd325f6ea547da543d4323f7f6687432689f00c274f2.png','job_01a2212c9e70c4bb86c3d1c427104c41');
INSERT INTO "holds" VALUES('demo/f5/f5a544fa86e6318845f2addabda8d4808cc04dcb5edf7d1a846a74e927c432db.png','job_01a2212c9e70c4bb86c3d1c427104c41');
INSERT INTO "holds" VALUES('demo/76/76bd45787ccb6f58010a5900971e412d33e61a0e44fff84a2f355d0ad47a8767.png','job_01a2212c9e70c4bb86c3d1c427104c41');
INSERT INTO "holds" VALUES('demo/dd/dd229e4ef2ce8ffc47ca1da12d76d8de19b7d94ef1f434b07848666995ed7d0b.png','job_01a2212cc292a3d811736110e578cea6');
INSERT INTO "holds" VALUES('demo/3b/3b7e8e019a654802f84d0534048befab7c08fe768454b47ff4cc7f75213479ff.png','job_01a2212ded66e66cb0e4b2b3f4d5ca63');
INSERT INTO "holds" VALUES('demo/c0/c09dc690def604fee7b4708178db1b2183b47353359fb4104dbcc6a1cb96b94e.png','job_01a2212f5f8486d2c96e760e819b24c3');
INSERT INTO "holds" VALUES('demo/7e/7e0c385175406c7a2e6fd4163a95e80224d8a4f91c5e186c9bbf761502583f0c.png','job_01a2212f5f8486d2c96e760e819b24c3');
INSERT INTO "holds" VALUES('demo/19/19e9a2417f88577fdc747d7e698e03ac8c01645475e88984d0f5ae911bfef97e.png','job_01a2212f5f8486d2c96e760e819b24c3');
INSERT INTO "holds" VALUES('demo/32/32631a7727c5cec3b92c40cb92763725328d146fed1b7633dd27c5bfdfd4967e.png','job_01a2212f5f8486d2c96e760e819b24c3');
INSERT INTO "holds" VALUES('demo/fe/fe75c6f6c0456663fbb06be59587f68f7ef2a7e8f3c3d499fc3f50a37d8c3d01.png','job_01a2212f6d30597164c4a6058a0022b2');
INSERT INTO "holds" VALUES('demo/ad/ad98917889eb54def4d263c9f29c48eb1343e18e4baac84b539091d7b4063125.png','job_01a2212f74062de50472433d2e44b6b8');
INSERT INTO "holds" VALUES('demo/38/38a921aaafb4eb0cef99ed61bb958de7c873c673d0cf3020cedfe315a922b7e3.png','job_01a2212f8f5e357e44cd3129903a5597');
INSERT INTO "holds" VALUES('demo/42/42e48966ea9787d716c7ebf4c2da175cc8ce42f1170ccac1c2fdafcc5c75ebf8.png','job_01a2212f9346a242fdf11f8f2b1ac3e6');
INSERT INTO "holds" VALUES('demo/90/901e1485ca341871ed50b03441fe94e72a0057b212b96b7529a99a1c871f3cee.png','job_01a2212f982893114351dcbed407b605');
INSERT INTO "holds" VALUES('demo/6b/6b56dcf932f7b3f9339d74a19314a609d830fa142b7ee747c94e966a21eed26a.png','job_01a2212f982893114351dcbed407b605');
INSERT INTO "holds" VALUES('demo/55/55ae0f42cd8c693868f2934d96cf9233797b3cc488359f56580dbb5014ad19c4.png','job_01a2212fa4dab99e8306dda748a69a8a');
INSERT INTO "holds" VALUES('demo/4c/4c13016880be4d282c0450be9ffddd553ddd8796b019edd9c4333754fb33fd69.png','job_01a2212fa4dab99e8306dda748a69a8a');
INSERT INTO "holds" VALUES('atelier/a9/a997568d7febff3dceb1c35ffcb7e50de9114db6bed4883de12c19f45b0cfc98.png','job_01a2212fb18c3f415b024a146cf098e1');
INSERT INTO "holds" VALUES('atelier/47/47483206de59d3738ae6954b8227c8ff82fa7254c8160af5dd9fe057f62784b0.png','job_01a2212fb18c3f415b024a146cf098e1');
INSERT INTO "holds" VALUES('atelier/b2/b26ee72050e088877d9504a51ad44db0ee748ac4fa1be88441fbeaf2a983dbf7.png','job_01a2212fb18c3f415b024a146cf098e1');
INSERT INTO "holds" VALUES('atelier/66/6666abb8eabe69c2ac5d16f5b0763e5560e7f00977364dc7081859bf0167a89e.png','job_01a2212fb18c3f415b024a146cf098e1');
INSERT INTO "holds" VALUES('demo/55/5523fbeea30bc9721ecf6b814cd71037801881d438d1012f194012f685a6d1e7.png','job_01a2212fbe3ecf999661f967bdaf7337');
INSERT INTO "holds" VALUES('demo/a4/a4a575b89bed6fc5162eb107f5c803b77eef450a544882bedda23779904eccf5.png','job_01a2212fc22687376f07bcb81287c038');
INSERT INTO "holds" VALUES('demo/36/3658643bc11a947b875f8058ceb6e5cae18e9e405b79faa6d2c056979f3d9fbc.png','job_01a2212fc22687376f07bcb81287c038');
INSERT INTO "holds" VALUES('demo/2e/2e2080e2cd7ceb2429f7b44ca59e42686da9874eb0c44703d55110fc658bebce.png','job_01a2212fc22687376f07bcb81287c038');
INSERT INTO "holds" VALUES('demo/e3/e3154d73576b890c83abab90dd463051e515fafad94ace55566a95766e11d65b.png','job_01a2212fc7088fe881c3a06619706df0');
INSERT INTO "holds" VALUES('demo/f4/f4bfe7cddebbedf6fbab82de03b83cb3317c90482cbabb21302d6ae530abd86e.png','job_01a2212fcbea148ded7e8a34888dab3b');
INSERT INTO "holds" VALUES('demo/da/daa49b898a2554e285fdbb40ed001659588373c9f4f3dd306981ee319e921b21.png','job_01a2212fd0cc80d27f58df111a3b45ad');
INSERT INTO "holds" VALUES('demo/7e/7ec2d3cbddc543119ebbb47054a26a59081ed941a2a2359ccd7e5d3154e98720.png','job_01a2212fd5aea90802389a78cdc2a875');
INSERT INTO "holds" VALUES('demo/9a/9a6b8073f78f7a60c676da12f3131e26edc450e20e910277f7097584e35183bc.png','job_01a2212fd996f74ac6f3aa202f4a2fed');
INSERT INTO "holds" VALUES('demo/c8/c8463b0a5eb92aa81513223271e1122fc0553470b696c3e63bd8c1aafb815f88.png','job_01a2212fdd7e75598005bac48a6a6bd6');
INSERT INTO "holds" VALUES('atelier/fe/feee169407dcf805f6a3145b7dd54b5c3166eed4bbe3d1a1a3dec8d5a4967b8a.png','job_01a2212fe166f0a890ea47ca738e14ec');
INSERT INTO "holds" VALUES('demo/6d/6d526a34ad8ef43ab090a09d545dc8790117d3b55b714157482a0ea9d55474e3.png','job_01a2212fed1e5ce301e94a2599ab9930');
CREATE TABLE idempotency (
	tenant VARCHAR NOT NULL, 
	"key" VARCHAR NOT NULL, 
	fingerprint VARCHAR NOT NULL, 
	token VARCHAR NOT NULL, 
	job_id VARCHAR, 
	expires_at DOUBLE NOT NULL, 
	PRIMARY KEY (tenant, "key"), 
	FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
);
INSERT INTO "idempotency" VALUES('demo','named-1','0000000000000000000000000000000000000000000000000000000000000000','f5b165224a58b791df6af1d8303e61cd','job_01a2212c9e70c4bb86c3d1c427104c41',1795939302.0);
INSERT INTO "idempotency" VALUES('demo','being-accepted','1111111111111111111111111111111111111111111111111111111111111111','53676da43f9e9919878d972f9a451da1',NULL,1795853176.75);
INSERT INTO "idempotency" VALUES('demo','replay-0','74490ea25466a5e3549c67b93931ff982a43c7fd9ea338a838946ac11a228a39','b03de04bf0a4f21e0adc3ebef6822b55','job_01a2212fe936d46d44e5a833b3b827f9',1795939517.75);
INSERT INTO "idempotency" VALUES('demo','replay-1','a5946db3793e6feabd44d117c7b87db75efdb1374d9af44c829f41d91ea7da02','ae179bf759340f6cf6c1f9810d387dd4','job_01a2212fed1e5ce301e94a2599ab9930',1795939518.75);
CREATE TABLE jobs (
	id VARCHAR NOT NULL, 
	tenant VARCHAR NOT NULL, 
	state VARCHAR NOT NULL CONSTRAINT jobs_state CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')), 
	spec JSON NOT NULL, 
	model_name VARCHAR NOT NULL, 
	model_version VARCHAR NOT NULL, 
	model_digest VARCHAR NOT NULL, 
	attempt INTEGER NOT NULL, 
	max_attempts INTEGER NOT NULL, 
	fence INTEGER NOT NULL, 
	lease_owner VARCHAR, 
	lease_until DOUBLE, 
	cancel_requested BOOLEAN NOT NULL, 
	progress JSON, 
	result JSON, 
	error JSON, 
	created_at DOUBLE NOT NULL, 
	started_at DOUBLE, 
	finished_at DOUBLE, webhook VARCHAR, idempotency_key VARCHAR, retention DOUBLE DEFAULT '604800' NOT NULL, expires_at DOUBLE, expired_at DOUBLE, priority VARCHAR DEFAULT 'interactive' NOT NULL, deadline DOUBLE, rows INTEGER DEFAULT '0' NOT NULL, gflop DOUBLE DEFAULT '0' NOT NULL, trace VARCHAR, 
	PRIMARY KEY (id)
);
INSERT INTO "jobs" VALUES('job_01a2212c9e70c4bb86c3d1c427104c41','demo','succeeded','{"prompt": "part 100: \u00e4\u00f6\u00fc \u2603", "negative_prompt": "blurry", "seeds": [100, 101], "steps": 12, "guidance": 5.5, "width": 128, "height": 96, "sampler": "dpmpp_2m", "eta": 0.0, "deterministic": false, "controls": [{"type": "canny", "annotator": "canny", "images": ["demo/1c/1cba4d13d81a3561a38a2252f60f117d45e86d6673adc123d9760c4eb0eeae01.png"], "parameters": {"low_threshold": 60.0, "high_threshold": 140.5}, "strength": 0.75, "start": 0.1, "end": 0.9, "mode": "guess"}]}','controlnet-demo','3','sha256:abababababababababababababababababababababababababababababababab',1,3,1,NULL,NULL,0,NULL,'{"images": [{"key": "demo/f5/f5a544fa86e6318845f2addabda8d4808cc04dcb5edf7d1a846a74e927c432db.png", "seed": 100, "width": 128, "height": 96}, {"key": "demo/76/76bd45787ccb6f58010a5900971e412d33e61a0e44fff84a2f355d0ad47a8767.png", "seed": 101, "width": 128, "height": 96}], "control_maps": [{"key": "demo/a0/a050ed355ea4eaf2fb37cd325f6ea547da543d4323f7f6687432689f00c274f2.png", "type": "canny", "index": 0}], "timings": {"queued": 0.25, "annotating": 0.125, "sampling": 1.5, "decoding": 0.0625}}',NULL,1795852902.0,1795852902.25,1795852904.25,'https://hooks.example.com/done','named-1',604800.0,1796457704.25,NULL,'interactive',NULL,4,70.368608256,'00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-01');
INSERT INTO "jobs" VALUES('job_01a2212cc292a3d811736110e578cea6','demo','failed','{"prompt": "part 200: \u00e4\u00f6\u00fc \u2603", "negative_prompt": "blurry", "seeds": [200, 201], "steps": 12, "guidance": 5.5, "width": 128, "height": 96, "sampler": "dpmpp_2m", "eta": 0.0, "deterministic": false, "controls": [{"type": "canny", "annotator": "canny", "images": ["demo/dd/dd229e4ef2ce8ffc47ca1da12d76d8de19b7d94ef1f434b07848666995ed7d0b.png"], "parameters": {"low_threshold": 60.0, "high_threshold": 140.5}, "strength": 0.75, "start": 0.1, "end": 0.9, "mode": "guess"}]}','controlnet-demo','3','sha256:abababababababababababababababababababababababababababababababab',1,3,1,NULL,NULL,0,NULL,NULL,'{"type": "invalid-request", "title": "The request is not valid", "status": 422, "detail": "No picture.", "field": "controls.0.image"}',1795852911.25,1795852911.5,1795852911.5,'https://hooks.example.com/done',NULL,604800.0,1796457711.5,NULL,'interactive',NULL,4,70.368608256,NULL);
INSERT INTO "jobs" VALUES('job_01a2212de0b48c2e0718822ce47c4107','demo','succeeded','{"prompt": "part 300: \u00e4\u00f6\u00fc \u2603", "negative_prompt": "blurry", "seeds": [300, 301], "steps": 12, "guidance": 5.5, "width": 128, "height": 96, "sampler": "dpmpp_2m", "eta": 0.0, "deterministic": false, "controls": [{"type": "canny", "annotator": "canny", "images": ["demo/c6/c669ccd8d011415e79abfaa8bd2589d697ec340fb9e0605bc119953748102655.png"], "parameters": {"low_threshold": 60.0, "high_threshold": 140.5}, "strength": 0.75, "start": 0.1, "end": 0.9, "mode": "guess"}]}','controlnet-demo','3','sha256:abababababababababababababababababababababababababababababababab',1,3,1,NULL,NULL,0,NULL,NULL,NULL,1795852984.5,1795852984.75,1795852986.75,NULL,NULL,60.0,1795853046.75,1795853106.75,'interactive',NULL,4,70.368608256,NULL);
INSERT INTO "jobs" VALUES('job_01a2212ded66e66cb0e4b2b3f4d5ca63','demo','failed','{"prompt": "part 400: \u00e4\u00f6\u00fc \u2603", "negative_prompt": "blurry", "seeds": [400, 401], "steps": 12, "guidance": 5.5, "width": 128, "height": 96, "sampler": "dpmpp_2m", "eta": 0.0, "deterministic": false, "controls": [{"type": "canny", "annotator": "canny", "images": ["demo/3b/3b7e8e019a654802f84d0534048befab7c08fe768454b47ff4cc7f75213479ff.png"], "parameters": {"low_threshold": 60.0, "high_threshold": 140.5}, "strength": 0.75, "start": 0.1, "end": 0.9, "mode": "guess"}]}','controlnet-demo','3','sha256:abababababababababababababababababababababababababababababababab',3,3,3,NULL,NULL,0,NULL,NULL,'{"type": "job-failed", "title": "The job failed", "status": 500, "detail": "The worker went silent during attempt 3 of 3."}',1795852987.75,1795852988.0,1795853081.5,NULL,NULL,604800.0,1796457881.5,NULL,'interactive',NULL,4,70.368608256,NULL);
INSERT INTO "jobs" VALUES('job_01a2212f5f8486d2c96e760e819b24c3','demo','succeeded','{"prompt": "part 500: \u00e4\u00f6\u00fc \u2603", "negative_prompt": "blurry", "seeds": [500, 501], "steps": 12, "guidance": 5.5, "width": 128, "height": 96, "sampler": "dpmpp_2m", "eta": 0.0, "deterministic": false, "controls": [{"type": "canny", "annotator": "canny", "images": ["demo/c0/c09dc690def604fee7b4708178db1b2183b47353359fb4104dbcc6a1cb96b94e.png"], "parameters": {"low_threshold": 60.0, "high_threshold": 140.5}, "strength": 0.75, "start": 0.1, "end": 0.9, "mode": "guess"}]}','controlnet-demo','3','sha256:abababababababababababababababababababababababababababababababab',2,3,2,NULL,NULL,0,NULL,'{"images": [{"key": "demo/19/19e9a2417f88577fdc747d7e698e03ac8c01645475e88984d0f5ae911bfef97e.png", "seed": 500, "width": 128, "height": 96}, {"key": "demo/32/32631a7727c5cec3b92c40cb92763725328d146fed1b7633dd27c5bfdfd4967e.png", "seed": 501, "width": 128, "height": 96}], "control_maps": [{"key": "demo/7e/7e0c385175406c7a2e6fd4163a95e80224d8a4f91c5e186c9bbf761502583f0c.png", "type": "canny", "index": 0}], "timings": {"queued": 0.25, "annotating": 0.125, "sampling": 1.5, "decoding": 0.0625}}',NULL,1795853082.5,1795853082.75,1795853085.0,NULL,NULL,604800.0,1796457885.0,NULL,'interactive',NULL,4,70.368608256,NULL);
INSERT INTO "jobs" VALUES('job_01a2212f6d30597164c4a6058a0022b2','demo','failed','{"prompt": "part 600: \u00e4\u00f6\u00fc \u2603", "negative_prompt": "blurry", "seeds": [600, 601], "steps": 12, "guidance": 5.5, "width": 128, "height": 96, "sampler": "dpmpp_2m", "eta": 0.0, "deterministic": false, "controls": [{"type": "canny", "annotator": "canny", "images": ["demo/fe/fe75c6f6c0456663fbb06be59587f68f7ef2a7e8f3c3d499fc3f50a37d8c3d01.png"], "parameters": {"low_threshold": 60.0, "high_threshold": 140.5}, "strength": 0.75, "start": 0.1, "end": 0.9, "mode": "guess"}]}','controlnet-demo','3','sha256:abababababababababababababababababababababababababababababababab',3,3,3,NULL,NULL,0,NULL,NULL,'{"type": "job-failed", "title": "The job failed", "status": 500, "detail": "Out of memory."}',1795853086.0,1795853086.25,1795853086.75,NULL,NULL,604800.0,1796457886.75,NULL,'interactive',NULL,4,70.368608256,NULL);
INSERT INTO "jobs" VALUES('job_01a2212f74062de50472433d2e44b6b8','demo','failed','{"prompt": "part 700: \u00e4\u00f6\u00fc \u2603", "negative_prompt": "blurry", "seeds": [700, 701], "steps": 12, "guidance": 5.5, "width": 128, "height": 96, "sampler": "dpmpp_2m", "eta": 0.0, "deterministic": false, "controls": [{"type": "canny", "annotator": "canny", "images": ["demo/ad/ad98917889eb54def4d263c9f29c48eb1343e18e4baac84b539091d7b4063125.png"], "parameters": {"low_threshold": 60.0, "high_threshold": 140.5}, "strength": 0.75, "start": 0.1, "end": 0.9, "mode": "guess"}]}','controlnet-demo','3','sha256:abababababababababababababababababababababababababababababababab',0,3,0,NULL,NULL,0,NULL,NULL,'{"type": "deadline-missed", "title": "The deadline was missed", "status": 504, "detail": "The deadline could not be met any more, so the job was not started."}',1795853087.75,NULL,1795853093.75,NULL,NULL,604800.0,1796457893.75,NULL,'interactive',1795853092.75,4,70.368608256,NULL);
INSERT INTO "jobs" VALUES('job_01a2212f8f5e357e44cd3129903a5597','demo','cancelled','{"prompt": "part 800: \u00e4\u00f6\u00fc \u2603", "negative_prompt": "blurry", "seeds": [800, 801], "steps": 12, "guidance": 5.5, "width": 128, "height": 96, "sampler": "dpmpp_2m", "eta": 0.0, "deterministic": false, "controls": [{"type": "canny", "annotator": "canny", "images": ["demo/38/38a921aaafb4eb0cef99ed61bb958de7c873c673d0cf3020cedfe315a922b7e3.png"], "parameters": {"low_threshold": 60.0, "high_threshold": 140.5}, "strength": 0.75, "start": 0.1, "end": 0.9, "mode": "guess"}]}','controlnet-demo','3','sha256:abababababababababababababababababababababababababababababababab',0,3,0,NULL,NULL,0,NULL,NULL,NULL,1795853094.75,NULL,1795853094.75,NULL,NULL,604800.0,1796457894.75,NULL,'interactive',NULL,4,70.368608256,NULL);
INSERT INTO "jobs" VALUES('job_01a2212f9346a242fdf11f8f2b1ac3e6','demo','cancelled','{"prompt": "part 900: \u00e4\u00f6\u00fc \u2603", "negative_prompt": "blurry", "seeds": [900, 901], "steps": 12, "guidance": 5.5, "width": 128, "height": 96, "sampler": "dpmpp_2m", "eta": 0.0, "deterministic": false, "controls": [{"type": "canny", "annotator": "canny", "images": ["demo/42/42e48966ea9787d716c7ebf4c2da175cc8ce42f1170ccac1c2fdafcc5c75ebf8.png"], "parameters": {"low_threshold": 60.0, "high_threshold": 140.5}, "strength": 0.75, "start": 0.1, "end": 0.9, "mode": "guess"}]}','controlnet-demo','3','sha256:abababababababababababababababababababababababababababababababab',1,3,1,NULL,NULL,1,NULL,NULL,NULL,1795853095.75,1795853096.0,1795853096.0,NULL,NULL,604800.0,1796457896.0,NULL,'interactive',NULL,4,70.368608256,NULL);
INSERT INTO "jobs" VALUES('job_01a2212f982893114351dcbed407b605','demo','succeeded','{"prompt": "part 1000: \u00e4\u00f6\u00fc \u2603", "negative_prompt": "blurry", "seeds": [], "steps": 0, "guidance": 1.0, "width": 128, "height": 96, "sampler": "dpmpp_2m", "eta": 0.0, "deterministic": false, "controls": [{"type": "canny", "annotator": "canny", "images": ["demo/90/901e1485ca341871ed50b03441fe94e72a0057b212b96b7529a99a1c871f3cee.png"], "parameters": {"low_threshold": 60.0, "high_threshold": 140.5}, "strength": 0.75, "start": 0.1, "end": 0.9, "mode": "guess"}]}','controlnet-demo','3','sha256:abababababababababababababababababababababababababababababababab',1,3,1,NULL,NULL,0,NULL,'{"images": [], "control_maps": [{"key": "demo/6b/6b56dcf932f7b3f9339d74a19314a609d830fa142b7ee747c94e966a21eed26a.png", "type": "canny", "index": 0}], "timings": {"queued": 0.25, "annotating": 0.125, "sampling": 1.5, "decoding": 0.0625}}',NULL,1795853097.0,1795853097.25,1795853099.25,NULL,NULL,604800.0,1796457899.25,NULL,'interactive',NULL,0,0.012288,NULL);
INSERT INTO "jobs" VALUES('job_01a2212fa4dab99e8306dda748a69a8a','demo','succeeded','{"prompt": "part 1100: \u00e4\u00f6\u00fc \u2603", "negative_prompt": "blurry", "seeds": [1100, 1101], "steps": 12, "guidance": 5.5, "width": 128, "height": 96, "sampler": "dpmpp_2m", "eta": 0.0, "deterministic": false, "controls": []}','controlnet-demo','3','sha256:abababababababababababababababababababababababababababababababab',1,3,1,NULL,NULL,0,NULL,'{"images": [{"key": "demo/55/55ae0f42cd8c693868f2934d96cf9233797b3cc488359f56580dbb5014ad19c4.png", "seed": 1100, "width": 128, "height": 96}, {"key": "demo/4c/4c13016880be4d282c0450be9ffddd553ddd8796b019edd9c4333754fb33fd69.png", "seed": 1101, "width": 128, "height": 96}], "control_maps": [], "timings": {"queued": 0.25, "annotating": 0.125, "sampling": 1.5, "decoding": 0.0625}}',NULL,1795853100.25,1795853100.5,1795853102.5,NULL,NULL,604800.0,1796457902.5,NULL,'batch',NULL,4,64.824262656,NULL);
INSERT INTO "jobs" VALUES('job_01a2212fb18c3f415b024a146cf098e1','atelier','succeeded','{"prompt": "part 1200: \u00e4\u00f6\u00fc \u2603", "negative_prompt": "blurry", "seeds": [1200, 1201], "steps": 12, "guidance": 5.5, "width": 128, "height": 96, "sampler": "dpmpp_2m", "eta": 0.0, "deterministic": false, "controls": [{"type": "canny", "annotator": "canny", "images": ["atelier/a9/a997568d7febff3dceb1c35ffcb7e50de9114db6bed4883de12c19f45b0cfc98.png"], "parameters": {"low_threshold": 60.0, "high_threshold": 140.5}, "strength": 0.75, "start": 0.1, "end": 0.9, "mode": "guess"}]}','controlnet-demo','3','sha256:abababababababababababababababababababababababababababababababab',1,3,1,NULL,NULL,0,NULL,'{"images": [{"key": "atelier/b2/b26ee72050e088877d9504a51ad44db0ee748ac4fa1be88441fbeaf2a983dbf7.png", "seed": 1200, "width": 128, "height": 96}, {"key": "atelier/66/6666abb8eabe69c2ac5d16f5b0763e5560e7f00977364dc7081859bf0167a89e.png", "seed": 1201, "width": 128, "height": 96}], "control_maps": [{"key": "atelier/47/47483206de59d3738ae6954b8227c8ff82fa7254c8160af5dd9fe057f62784b0.png", "type": "canny", "index": 0}], "timings": {"queued": 0.25, "annotating": 0.125, "sampling": 1.5, "decoding": 0.0625}}',NULL,1795853103.5,1795853103.75,1795853105.75,NULL,NULL,604800.0,1796457905.75,NULL,'interactive',NULL,4,70.368608256,NULL);
INSERT INTO "jobs" VALUES('job_01a2212fbe3ecf999661f967bdaf7337','demo','cancelled','{"prompt": "part 1300: \u00e4\u00f6\u00fc \u2603", "negative_prompt": "blurry", "seeds": [1300, 1301], "steps": 12, "guidance": 5.5, "width": 128, "height": 96, "sampler": "dpmpp_2m", "eta": 0.0, "deterministic": false, "controls": [{"type": "canny", "annotator": "canny", "images": ["demo/55/5523fbeea30bc9721ecf6b814cd71037801881d438d1012f194012f685a6d1e7.png"], "parameters": {"low_threshold": 60.0, "high_threshold": 140.5}, "strength": 0.75, "start": 0.1, "end": 0.9, "mode": "guess"}]}','controlnet-demo','3','sha256:abababababababababababababababababababababababababababababababab',0,3,0,NULL,NULL,0,NULL,NULL,NULL,1795853106.75,NULL,1795853106.75,'https://hooks.example.com/done',NULL,604800.0,1796457906.75,NULL,'interactive',NULL,4,70.368608256,NULL);
INSERT INTO "jobs" VALUES('job_01a2212fc22687376f07bcb81287c038','demo','running','{"prompt": "part 1400: \u00e4\u00f6\u00fc \u2603", "negative_prompt": "blurry", "seeds": [1400, 1401], "steps": 12, "guidance": 5.5, "width": 128, "height": 96, "sampler": "dpmpp_2m", "eta": 0.0, "deterministic": false, "controls": [{"type": "canny", "annotator": "canny", "images": ["demo/a4/a4a575b89bed6fc5162eb107f5c803b77eef450a544882bedda23779904eccf5.png"], "parameters": {"low_threshold": 60.0, "high_threshold": 140.5}, "strength": 0.75, "start": 0.1, "end": 0.9, "mode": "guess"}]}','controlnet-demo','3','sha256:abababababababababababababababababababababababababababababababab',1,3,1,'dispatcher-1',1795853138.0,0,'{"steps": [12, 5], "of": 12}',NULL,NULL,1795853107.75,1795853108.0,NULL,'https://hooks.example.com/done',NULL,604800.0,NULL,NULL,'interactive',1796457907.75,4,70.368608256,NULL);
INSERT INTO "jobs" VALUES('job_01a2212fc7088fe881c3a06619706df0','demo','running','{"prompt": "part 1500: \u00e4\u00f6\u00fc \u2603", "negative_prompt": "blurry", "seeds": [1500, 1501], "steps": 12, "guidance": 5.5, "width": 128, "height": 96, "sampler": "dpmpp_2m", "eta": 0.0, "deterministic": false, "controls": [{"type": "canny", "annotator": "canny", "images": ["demo/e3/e3154d73576b890c83abab90dd463051e515fafad94ace55566a95766e11d65b.png"], "parameters": {"low_threshold": 60.0, "high_threshold": 140.5}, "strength": 0.75, "start": 0.1, "end": 0.9, "mode": "guess"}]}','controlnet-demo','3','sha256:abababababababababababababababababababababababababababababababab',1,3,1,'dispatcher-1',1795853139.25,1,NULL,NULL,NULL,1795853109.0,1795853109.25,NULL,NULL,NULL,604800.0,NULL,NULL,'interactive',NULL,4,70.368608256,NULL);
INSERT INTO "jobs" VALUES('job_01a2212fcbea148ded7e8a34888dab3b','demo','running','{"prompt": "part 1600: \u00e4\u00f6\u00fc \u2603", "negative_prompt": "blurry", "seeds": [], "steps": 0, "guidance": 1.0, "width": 128, "height": 96, "sampler": "dpmpp_2m", "eta": 0.0, "deterministic": false, "controls": [{"type": "canny", "annotator": "canny", "images": ["demo/f4/f4bfe7cddebbedf6fbab82de03b83cb3317c90482cbabb21302d6ae530abd86e.png"], "parameters": {"low_threshold": 60.0, "high_threshold": 140.5}, "strength": 0.75, "start": 0.1, "end": 0.9, "mode": "guess"}]}','controlnet-demo','3','sha256:abababababababababababababababababababababababababababababababab',1,3,1,'dispatcher-1',1795853140.5,0,NULL,NULL,NULL,1795853110.25,1795853110.5,NULL,NULL,NULL,604800.0,NULL,NULL,'interactive',NULL,0,0.012288,NULL);
INSERT INTO "jobs" VALUES('job_01a2212fd0cc80d27f58df111a3b45ad','demo','queued','{"prompt": "part 1700: \u00e4\u00f6\u00fc \u2603", "negative_prompt": "blurry", "seeds": [1700, 1701], "steps": 12, "guidance": 5.5, "width": 128, "height": 96, "sampler": "dpmpp_2m", "eta": 0.0, "deterministic": false, "controls": [{"type": "canny", "annotator": "canny", "images": ["demo/da/daa49b898a2554e285fdbb40ed001659588373c9f4f3dd306981ee319e921b21.png"], "parameters": {"low_threshold": 60.0, "high_threshold": 140.5}, "strength": 0.75, "start": 0.1, "end": 0.9, "mode": "guess"}]}','controlnet-demo','3','sha256:abababababababababababababababababababababababababababababababab',1,3,1,NULL,NULL,0,NULL,NULL,NULL,1795853111.5,1795853111.75,NULL,NULL,NULL,604800.0,NULL,NULL,'interactive',NULL,4,70.368608256,NULL);
INSERT INTO "jobs" VALUES('job_01a2212fd5aea90802389a78cdc2a875','demo','queued','{"prompt": "part 1800: \u00e4\u00f6\u00fc \u2603", "negative_prompt": "blurry", "seeds": [1800, 1801], "steps": 12, "guidance": 5.5, "width": 128, "height": 96, "sampler": "dpmpp_2m", "eta": 0.0, "deterministic": false, "controls": [{"type": "canny", "annotator": "canny", "images": ["demo/7e/7ec2d3cbddc543119ebbb47054a26a59081ed941a2a2359ccd7e5d3154e98720.png"], "parameters": {"low_threshold": 60.0, "high_threshold": 140.5}, "strength": 0.75, "start": 0.1, "end": 0.9, "mode": "guess"}]}','controlnet-demo','3','sha256:abababababababababababababababababababababababababababababababab',0,3,0,NULL,NULL,0,NULL,NULL,NULL,1795853112.75,NULL,NULL,NULL,NULL,604800.0,NULL,NULL,'interactive',NULL,4,70.368608256,NULL);
INSERT INTO "jobs" VALUES('job_01a2212fd996f74ac6f3aa202f4a2fed','demo','queued','{"prompt": "part 1900: \u00e4\u00f6\u00fc \u2603", "negative_prompt": "blurry", "seeds": [1900, 1901], "steps": 12, "guidance": 5.5, "width": 128, "height": 96, "sampler": "dpmpp_2m", "eta": 0.0, "deterministic": false, "controls": [{"type": "canny", "annotator": "canny", "images": ["demo/9a/9a6b8073f78f7a60c676da12f3131e26edc450e20e910277f7097584e35183bc.png"], "parameters": {"low_threshold": 60.0, "high_threshold": 140.5}, "strength": 0.75, "start": 0.1, "end": 0.9, "mode": "guess"}]}','controlnet-demo','3','sha256:abababababababababababababababababababababababababababababababab',0,3,0,NULL,NULL,0,NULL,NULL,NULL,1795853113.75,NULL,NULL,'https://hooks.example.com/done',NULL,604800.0,NULL,NULL,'batch',1796457913.75,4,70.368608256,NULL);
INSERT INTO "jobs" VALUES('job_01a2212fdd7e75598005bac48a6a6bd6','demo','queued','{"prompt": "part 2000: \u00e4\u00f6\u00fc \u2603", "negative_prompt": "blurry", "seeds": [], "steps": 0, "guidance": 1.0, "width": 128, "height": 96, "sampler": "dpmpp_2m", "eta": 0.0, "deterministic": false, "controls": [{"type": "canny", "annotator": "canny", "images": ["demo/c8/c8463b0a5eb92aa81513223271e1122fc0553470b696c3e63bd8c1aafb815f88.png"], "parameters": {"low_threshold": 60.0, "high_threshold": 140.5}, "strength": 0.75, "start": 0.1, "end": 0.9, "mode": "guess"}]}','controlnet-demo','3','sha256:abababababababababababababababababababababababababababababababab',0,3,0,NULL,NULL,0,NULL,NULL,NULL,1795853114.75,NULL,NULL,NULL,NULL,604800.0,NULL,NULL,'interactive',NULL,0,0.012288,NULL);
INSERT INTO "jobs" VALUES('job_01a2212fe166f0a890ea47ca738e14ec','atelier','queued','{"prompt": "part 2100: \u00e4\u00f6\u00fc \u2603", "negative_prompt": "blurry", "seeds": [2100, 2101], "steps": 12, "guidance": 5.5, "width": 128, "height": 96, "sampler": "dpmpp_2m", "eta": 0.0, "deterministic": false, "controls": [{"type": "canny", "annotator": "canny", "images": ["atelier/fe/feee169407dcf805f6a3145b7dd54b5c3166eed4bbe3d1a1a3dec8d5a4967b8a.png"], "parameters": {"low_threshold": 60.0, "high_threshold": 140.5}, "strength": 0.75, "start": 0.1, "end": 0.9, "mode": "guess"}]}','controlnet-demo','3','sha256:abababababababababababababababababababababababababababababababab',0,3,0,NULL,NULL,0,NULL,NULL,NULL,1795853115.75,NULL,NULL,NULL,NULL,604800.0,NULL,NULL,'interactive',NULL,4,70.368608256,NULL);
INSERT INTO "jobs" VALUES('job_01a2212fe936d46d44e5a833b3b827f9','demo','queued','{"prompt": "a brass gear", "negative_prompt": "", "seeds": [7, 8], "steps": 12, "guidance": 3.0, "width": 128, "height": 128, "sampler": "ddim", "eta": 0.0, "deterministic": false, "controls": []}','controlnet-demo','3','sha256:abababababababababababababababababababababababababababababababab',0,3,0,NULL,NULL,0,NULL,NULL,NULL,1795853117.75,NULL,NULL,NULL,'replay-0',604800.0,NULL,NULL,'interactive',NULL,4,86.28125696,NULL);
INSERT INTO "jobs" VALUES('job_01a2212fed1e5ce301e94a2599ab9930','demo','queued','{"prompt": "a steel plate", "negative_prompt": "", "seeds": [9], "steps": 20, "guidance": 3.0, "width": 128, "height": 128, "sampler": "ddim", "eta": 0.0, "deterministic": false, "controls": [{"type": "canny", "annotator": "canny", "images": ["demo/6d/6d526a34ad8ef43ab090a09d545dc8790117d3b55b714157482a0ea9d55474e3.png"], "parameters": {"low_threshold": 50.0, "high_threshold": 140.0}, "strength": 0.75, "start": 0.0, "end": 1.0, "mode": "balanced"}]}','controlnet-demo','3','sha256:abababababababababababababababababababababababababababababababab',0,3,0,NULL,NULL,0,NULL,NULL,NULL,1795853118.75,NULL,NULL,NULL,'replay-1',604800.0,NULL,NULL,'batch',NULL,2,87.477714944,NULL);
CREATE TABLE keys (
	id VARCHAR NOT NULL, 
	tenant VARCHAR NOT NULL, 
	role VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	hash VARCHAR NOT NULL, 
	created_at DOUBLE NOT NULL, 
	expires_at DOUBLE, 
	revoked_at DOUBLE, 
	PRIMARY KEY (id), 
	FOREIGN KEY(tenant) REFERENCES tenants (name)
);
INSERT INTO "keys" VALUES('aeaqcaibae','demo','admin','admin','3a67b06e155034906aa0ced18189c2c042f86cd4291dbe2133f82daf6417fa77',1795852800.0,NULL,NULL);
INSERT INTO "keys" VALUES('aibaeaqcai','demo','member','member','94f59b212218e37cc499873b041b8ea484f902a3e42c9b8a337028beba697f82',1795852800.0,1895852800.0,NULL);
INSERT INTO "keys" VALUES('ambqgaydam','demo','viewer','viewer','e31a1daca00666bfbb2a887a02a7883e7d50c6ca24dc23ddfe8dccfdbd2d5a38',1795852800.0,NULL,NULL);
INSERT INTO "keys" VALUES('aqcaibaeaq','demo','member','expired','84d79037d33c60a5d55fc4c64c52809683aac27c1161c6d1acaf0c976dcb1193',1795852800.0,1795852860.0,NULL);
INSERT INTO "keys" VALUES('aucqkbifau','demo','member','revoked','562f775227ce32c3f6f1f7c227cf5f9581fa10893b86ae1cfc2a11255e2af1cc',1795852800.0,NULL,1795852800.0);
INSERT INTO "keys" VALUES('aydambqgay','demo','member','rotated','6b109298803434ac7238da1a02038dcfa6c281a134b6f946ad9d38855e8f3571',1795852800.0,1798444800.0,NULL);
INSERT INTO "keys" VALUES('a4dqobyha4','atelier','admin','atelier','0608e16b3e51d7210146437f84a2a35981f6e010951d31041cdf10ef2da077a6',1795852800.0,NULL,NULL);
INSERT INTO "keys" VALUES('baeaqcaiba','former','member','of a team that is gone','7c48bb702b9e07c9ca86f8005503e2488794da6d3b0f0490996f0cb67de08c11',1795852800.0,NULL,1795852900.0);
INSERT INTO "keys" VALUES('beeqscijbe','demo','member','rotated','031df2da25e6c3c389aced0bb4460a3b733dee36dddb5d769dd0bdb1bd98bcb9',1795852800.0,NULL,NULL);
CREATE TABLE locks (
	name VARCHAR NOT NULL, 
	owner VARCHAR NOT NULL, 
	until DOUBLE NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "locks" VALUES('ready','dispatcher-1',1795856718.75);
INSERT INTO "locks" VALUES('cluster/session_2026-11-28_07-59-00_000000_1','session_2026-11-28_07-59-00_000000_1',1795856718.75);
CREATE TABLE paces (
	worker VARCHAR NOT NULL, 
	fixed DOUBLE NOT NULL, 
	per_gflop DOUBLE NOT NULL, 
	gflop DOUBLE NOT NULL, 
	rows INTEGER NOT NULL, 
	at DOUBLE NOT NULL, 
	PRIMARY KEY (worker)
);
INSERT INTO "paces" VALUES('sampler-1',0.02,0.003,40.0,16,1795853118.75);
CREATE TABLE rates (
	tenant VARCHAR NOT NULL, 
	due DOUBLE NOT NULL, 
	PRIMARY KEY (tenant)
);
INSERT INTO "rates" VALUES('demo',1795853119.75);
CREATE TABLE serving (
	name VARCHAR NOT NULL, 
	version VARCHAR NOT NULL, 
	digest VARCHAR NOT NULL, 
	manifest JSON NOT NULL, 
	source VARCHAR NOT NULL, 
	since DOUBLE NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "serving" VALUES('older','1','sha256:cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd','{"format": 1, "name": "controlnet-demo", "version": "1.1.0", "architecture": {"unet": {"in_channels": 4, "out_channels": 4, "model_channels": 48, "channel_mult": [1, 2, 3, 4], "num_res_blocks": 1, "attention_resolutions": [4, 8], "num_heads": 4, "context_dim": 128, "transformer_depth": 1, "norm_groups": 16}, "vae": {"in_channels": 3, "channels": 16, "channel_mult": [1, 2, 4], "num_res_blocks": 1, "z_channels": 4, "embed_dim": 4, "norm_groups": 8, "scale_factor": 0.6892564296722412}, "text": {"vocab_size": 649, "hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 3, "num_attention_heads": 4, "max_position_embeddings": 32, "hidden_act": "quick_gelu", "bos_token_id": 647, "eos_token_id": 648, "pad_token_id": 648}, "control": {"hint_channels": [16, 32, 64], "conditioning_channels": 3}, "schedule": {"timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "prediction": "v"}}, "native_size": {"width": 128, "height": 128}, "defaults": {"steps": 20, "guidance": 3.0, "negative_prompt": "", "sampler": "ddim"}, "controls": {"canny": {"annotator": "canny", "parameters": {"low_threshold": 60.0, "high_threshold": 140.0}, "description": "Thin edges by Canny''s detector: white on black.", "file": "controls/canny.safetensors", "sha256": "85419e10ced8927c8e0416e3e4b71fa903245b23237d3e6d17bec0bfff5e71ed"}}, "files": {"controls/canny.safetensors": {"sha256": "85419e10ced8927c8e0416e3e4b71fa903245b23237d3e6d17bec0bfff5e71ed", "bytes": 10382672}, "text.safetensors": {"sha256": "cb97e869dd8ed0538d3e30a97fcc43504bde2ff945b2ce107d4d9db755b62316", "bytes": 1370400}, "tokenizer/merges.txt": {"sha256": "f0b0734ec0908e3f795f271c3f8a895a1d14bef7484cde159891d4996a538797", "bytes": 1071}, "tokenizer/vocab.json": {"sha256": "539d2ccd1da298ab42226bcd31f52512ffe8241e85e24dab8119fa78709ef911", "bytes": 9707}, "unet.safetensors": {"sha256": "7daa138f1b9b5b2b4845566878ad660f8943985d66008715f9b868085751b287", "bytes": 24449608}, "vae.safetensors": {"sha256": "7750e2731784041b84c234860166ad03d8481de7c73fb2027d1982c659a8a77f", "bytes": 1378878}}, "licence": "Apache-2.0", "training_data": {"pictures": "Procedural renderings of machined parts on a bench (controlnet.parts), captioned; no photographs.", "vae": {"accelerator": "auto", "accumulate": "1", "batch": "16", "clip": "1.0", "crop": "64", "data/kind": "parts", "data/mirrored": "False", "data/size": "128", "devices": "1", "ema": "0.995", "floor": "0.02", "hold": "0.25", "learning_rate": "0.0012", "lock_encoder": "True", "log_every": "20", "loss/chroma": "2.0", "loss/gradient": "1.0", "loss/kl": "0.001", "loss/mask": "3.0", "loss/pooled": "0.5", "loss/square": "2.0", "max_time": "12", "optimizer": "muon", "precision": "bf16-mixed", "save_every": "100", "seed": "0", "show_every": "200", "stage": "vae", "steps": "3000", "threads": "1", "warmup": "50", "workers": "0", "started_from": {"bundle": "sha256:ac049e60611aa4786f44d13e492bf7b826b3899f39575ff6db95fe6042c15917", "accelerator": "auto", "accumulate": "1", "batch": "16", "clip": "1.0", "crop": "64", "data/kind": "parts", "data/size": "128", "ema": "0.995", "floor": "0.02", "hold": "0.3", "learning_rate": "0.0015", "log_every": "20", "loss/chroma": "2.0", "loss/gradient": "1.0", "loss/kl": "0.001", "loss/mask": "3.0", "loss/pooled": "0.5", "loss/square": "2.0", "max_time": "16", "precision": "32-true", "save_every": "100", "seed": "0", "show_every": "250", "stage": "vae", "steps": "4000", "threads": "2", "warmup": "50", "workers": "0"}}, "base": {"accelerator": "auto", "accumulate": "1", "batch": "32", "clip": "1.0", "data/kind": "parts", "data/mirrored": "True", "data/size": "128", "devices": "1", "dropout": "0.1", "ema": "0.998", "floor": "0.02", "gamma": "5.0", "hold": "0.35", "learning_rate": "0.0015", "log_every": "20", "max_time": "70", "optimizer": "muon", "precision": "bf16-mixed", "save_every": "100", "seed": "0", "show_every": "500", "stage": "base", "steps": "6000", "threads": "1", "warmup": "60", "workers": "0", "started_from": {"bundle": "sha256:ac049e60611aa4786f44d13e492bf7b826b3899f39575ff6db95fe6042c15917", "accelerator": "auto", "accumulate": "1", "batch": "12", "clip": "1.0", "data/kind": "parts", "data/mirrored": "False", "data/size": "128", "devices": "2", "dropout": "0.1", "ema": "0.996", "floor": "0.02", "gamma": "5.0", "hold": "0.5", "learning_rate": "0.0015", "log_every": "20", "max_time": "38", "optimizer": "muon", "precision": "32-true", "save_every": "100", "seed": "0", "show_every": "200", "stage": "base", "steps": "2000", "threads": "1", "warmup": "60", "workers": "0"}}, "control-canny": {"accelerator": "auto", "accumulate": "1", "batch": "16", "bundle": "None", "clip": "1.0", "data/kind": "parts", "data/mirrored": "True", "data/size": "128", "devices": "1", "dropout": "0.3", "ema": "0.995", "floor": "0.02", "fresh_rate": "0.003", "gamma": "5.0", "hold": "0.3", "late": "0.5", "learning_rate": "0.001", "log_every": "20", "max_time": "22", "name": "canny", "optimizer": "muon", "precision": "bf16-mixed", "save_every": "100", "seed": "0", "show_every": "400", "stage": "control", "steps": "2500", "threads": "1", "warmup": "50", "workers": "0", "started_from": {"bundle": "None", "accelerator": "auto", "accumulate": "1", "batch": "8", "clip": "1.0", "data/kind": "parts", "data/mirrored": "False", "data/size": "128", "devices": "2", "dropout": "0.3", "ema": "0.99", "floor": "0.02", "fresh_rate": "0.004", "gamma": "5.0", "hold": "0.5", "late": "0.5", "learning_rate": "0.001", "log_every": "20", "max_time": "26", "name": "canny", "optimizer": "muon", "precision": "32-true", "save_every": "100", "seed": "0", "show_every": "150", "stage": "control", "steps": "2500", "threads": "1", "warmup": "30", "workers": "0"}}}, "metrics": {"all_control_g1": 0.73, "all_control_g3": 0.845, "all_no_control_g1": 0.62, "all_no_control_g3": 0.83, "all_real": 0.9, "all_vae": 0.825, "canny_f1_chance": 0.2872, "canny_f1_control_g1": 0.7398, "canny_f1_control_g3": 0.7312, "canny_f1_no_control_g1": 0.253, "canny_f1_no_control_g3": 0.2666, "canny_f1_photographs": 0.4906230550766971, "canny_f1_photographs_no_control": 0.1978205889174798, "canny_f1_shuffled_g3": 0.2646, "canny_f1_shuffled_given_g3": 0.6145, "canny_f1_vae": 0.8321, "defect_control_g1": 0.79, "defect_control_g3": 0.845, "defect_no_control_g1": 0.765, "defect_no_control_g3": 0.84, "defect_real": 0.9, "defect_vae": 0.825, "images": 250.0, "judged": 200.0, "material_by_colour_control_g1": 0.965, "material_by_colour_control_g3": 1.0, "material_by_colour_real": 1.0, "material_by_colour_vae": 1.0, "material_control_g1": 0.995, "material_control_g3": 1.0, "material_no_control_g1": 0.99, "material_no_control_g3": 1.0, "material_real": 1.0, "material_vae": 1.0, "of_ceiling_control_g1": 0.889, "of_ceiling_control_g3": 0.8787, "over_no_control_control_g1": 2.7752, "over_no_control_control_g3": 2.743, "part_control_g1": 0.94, "part_control_g3": 1.0, "part_no_control_g1": 0.82, "part_no_control_g3": 0.985, "part_real": 1.0, "part_vae": 1.0, "psnr_vae": 33.5645, "seconds_base": 4208.0, "seconds_canny": 1325.0, "seconds_vae": 722.0, "steps_base": 3200.0, "steps_canny": 1378.0, "steps_vae": 1205.0}, "created": "2026-11-24T13:15:51.563069Z"}','models:/older/1',1795852900.0);
INSERT INTO "serving" VALUES('controlnet-demo','3','sha256:abababababababababababababababababababababababababababababababab','{"format": 1, "name": "controlnet-demo", "version": "1.1.0", "architecture": {"unet": {"in_channels": 4, "out_channels": 4, "model_channels": 48, "channel_mult": [1, 2, 3, 4], "num_res_blocks": 1, "attention_resolutions": [4, 8], "num_heads": 4, "context_dim": 128, "transformer_depth": 1, "norm_groups": 16}, "vae": {"in_channels": 3, "channels": 16, "channel_mult": [1, 2, 4], "num_res_blocks": 1, "z_channels": 4, "embed_dim": 4, "norm_groups": 8, "scale_factor": 0.6892564296722412}, "text": {"vocab_size": 649, "hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 3, "num_attention_heads": 4, "max_position_embeddings": 32, "hidden_act": "quick_gelu", "bos_token_id": 647, "eos_token_id": 648, "pad_token_id": 648}, "control": {"hint_channels": [16, 32, 64], "conditioning_channels": 3}, "schedule": {"timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "prediction": "v"}}, "native_size": {"width": 128, "height": 128}, "defaults": {"steps": 20, "guidance": 3.0, "negative_prompt": "", "sampler": "ddim"}, "controls": {"canny": {"annotator": "canny", "parameters": {"low_threshold": 60.0, "high_threshold": 140.0}, "description": "Thin edges by Canny''s detector: white on black.", "file": "controls/canny.safetensors", "sha256": "85419e10ced8927c8e0416e3e4b71fa903245b23237d3e6d17bec0bfff5e71ed"}}, "files": {"controls/canny.safetensors": {"sha256": "85419e10ced8927c8e0416e3e4b71fa903245b23237d3e6d17bec0bfff5e71ed", "bytes": 10382672}, "text.safetensors": {"sha256": "cb97e869dd8ed0538d3e30a97fcc43504bde2ff945b2ce107d4d9db755b62316", "bytes": 1370400}, "tokenizer/merges.txt": {"sha256": "f0b0734ec0908e3f795f271c3f8a895a1d14bef7484cde159891d4996a538797", "bytes": 1071}, "tokenizer/vocab.json": {"sha256": "539d2ccd1da298ab42226bcd31f52512ffe8241e85e24dab8119fa78709ef911", "bytes": 9707}, "unet.safetensors": {"sha256": "7daa138f1b9b5b2b4845566878ad660f8943985d66008715f9b868085751b287", "bytes": 24449608}, "vae.safetensors": {"sha256": "7750e2731784041b84c234860166ad03d8481de7c73fb2027d1982c659a8a77f", "bytes": 1378878}}, "licence": "Apache-2.0", "training_data": {"pictures": "Procedural renderings of machined parts on a bench (controlnet.parts), captioned; no photographs.", "vae": {"accelerator": "auto", "accumulate": "1", "batch": "16", "clip": "1.0", "crop": "64", "data/kind": "parts", "data/mirrored": "False", "data/size": "128", "devices": "1", "ema": "0.995", "floor": "0.02", "hold": "0.25", "learning_rate": "0.0012", "lock_encoder": "True", "log_every": "20", "loss/chroma": "2.0", "loss/gradient": "1.0", "loss/kl": "0.001", "loss/mask": "3.0", "loss/pooled": "0.5", "loss/square": "2.0", "max_time": "12", "optimizer": "muon", "precision": "bf16-mixed", "save_every": "100", "seed": "0", "show_every": "200", "stage": "vae", "steps": "3000", "threads": "1", "warmup": "50", "workers": "0", "started_from": {"bundle": "sha256:ac049e60611aa4786f44d13e492bf7b826b3899f39575ff6db95fe6042c15917", "accelerator": "auto", "accumulate": "1", "batch": "16", "clip": "1.0", "crop": "64", "data/kind": "parts", "data/size": "128", "ema": "0.995", "floor": "0.02", "hold": "0.3", "learning_rate": "0.0015", "log_every": "20", "loss/chroma": "2.0", "loss/gradient": "1.0", "loss/kl": "0.001", "loss/mask": "3.0", "loss/pooled": "0.5", "loss/square": "2.0", "max_time": "16", "precision": "32-true", "save_every": "100", "seed": "0", "show_every": "250", "stage": "vae", "steps": "4000", "threads": "2", "warmup": "50", "workers": "0"}}, "base": {"accelerator": "auto", "accumulate": "1", "batch": "32", "clip": "1.0", "data/kind": "parts", "data/mirrored": "True", "data/size": "128", "devices": "1", "dropout": "0.1", "ema": "0.998", "floor": "0.02", "gamma": "5.0", "hold": "0.35", "learning_rate": "0.0015", "log_every": "20", "max_time": "70", "optimizer": "muon", "precision": "bf16-mixed", "save_every": "100", "seed": "0", "show_every": "500", "stage": "base", "steps": "6000", "threads": "1", "warmup": "60", "workers": "0", "started_from": {"bundle": "sha256:ac049e60611aa4786f44d13e492bf7b826b3899f39575ff6db95fe6042c15917", "accelerator": "auto", "accumulate": "1", "batch": "12", "clip": "1.0", "data/kind": "parts", "data/mirrored": "False", "data/size": "128", "devices": "2", "dropout": "0.1", "ema": "0.996", "floor": "0.02", "gamma": "5.0", "hold": "0.5", "learning_rate": "0.0015", "log_every": "20", "max_time": "38", "optimizer": "muon", "precision": "32-true", "save_every": "100", "seed": "0", "show_every": "200", "stage": "base", "steps": "2000", "threads": "1", "warmup": "60", "workers": "0"}}, "control-canny": {"accelerator": "auto", "accumulate": "1", "batch": "16", "bundle": "None", "clip": "1.0", "data/kind": "parts", "data/mirrored": "True", "data/size": "128", "devices": "1", "dropout": "0.3", "ema": "0.995", "floor": "0.02", "fresh_rate": "0.003", "gamma": "5.0", "hold": "0.3", "late": "0.5", "learning_rate": "0.001", "log_every": "20", "max_time": "22", "name": "canny", "optimizer": "muon", "precision": "bf16-mixed", "save_every": "100", "seed": "0", "show_every": "400", "stage": "control", "steps": "2500", "threads": "1", "warmup": "50", "workers": "0", "started_from": {"bundle": "None", "accelerator": "auto", "accumulate": "1", "batch": "8", "clip": "1.0", "data/kind": "parts", "data/mirrored": "False", "data/size": "128", "devices": "2", "dropout": "0.3", "ema": "0.99", "floor": "0.02", "fresh_rate": "0.004", "gamma": "5.0", "hold": "0.5", "late": "0.5", "learning_rate": "0.001", "log_every": "20", "max_time": "26", "name": "canny", "optimizer": "muon", "precision": "32-true", "save_every": "100", "seed": "0", "show_every": "150", "stage": "control", "steps": "2500", "threads": "1", "warmup": "30", "workers": "0"}}}, "metrics": {"all_control_g1": 0.73, "all_control_g3": 0.845, "all_no_control_g1": 0.62, "all_no_control_g3": 0.83, "all_real": 0.9, "all_vae": 0.825, "canny_f1_chance": 0.2872, "canny_f1_control_g1": 0.7398, "canny_f1_control_g3": 0.7312, "canny_f1_no_control_g1": 0.253, "canny_f1_no_control_g3": 0.2666, "canny_f1_photographs": 0.4906230550766971, "canny_f1_photographs_no_control": 0.1978205889174798, "canny_f1_shuffled_g3": 0.2646, "canny_f1_shuffled_given_g3": 0.6145, "canny_f1_vae": 0.8321, "defect_control_g1": 0.79, "defect_control_g3": 0.845, "defect_no_control_g1": 0.765, "defect_no_control_g3": 0.84, "defect_real": 0.9, "defect_vae": 0.825, "images": 250.0, "judged": 200.0, "material_by_colour_control_g1": 0.965, "material_by_colour_control_g3": 1.0, "material_by_colour_real": 1.0, "material_by_colour_vae": 1.0, "material_control_g1": 0.995, "material_control_g3": 1.0, "material_no_control_g1": 0.99, "material_no_control_g3": 1.0, "material_real": 1.0, "material_vae": 1.0, "of_ceiling_control_g1": 0.889, "of_ceiling_control_g3": 0.8787, "over_no_control_control_g1": 2.7752, "over_no_control_control_g3": 2.743, "part_control_g1": 0.94, "part_control_g3": 1.0, "part_no_control_g1": 0.82, "part_no_control_g3": 0.985, "part_real": 1.0, "part_vae": 1.0, "psnr_vae": 33.5645, "seconds_base": 4208.0, "seconds_canny": 1325.0, "seconds_vae": 722.0, "steps_base": 3200.0, "steps_canny": 1378.0, "steps_vae": 1205.0}, "created": "2026-11-24T13:15:51.563069Z"}','models:/x/3',1795852901.0);
CREATE TABLE spent (
	tenant VARCHAR NOT NULL, 
	day VARCHAR NOT NULL, 
	images BIGINT NOT NULL, 
	gflop DOUBLE NOT NULL, 
	PRIMARY KEY (tenant, day)
);
INSERT INTO "spent" VALUES('demo','2026-11-28',23,8.71937572864000117085e+02);
INSERT INTO "spent" VALUES('atelier','2026-11-28',4,140.737216512);
CREATE TABLE swept (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	"key" VARCHAR NOT NULL, 
	at DOUBLE NOT NULL
);
INSERT INTO "swept" VALUES(1,'demo/44/44f46d3b76aac2f1da31a0c189338679cb121f28536ddb4b05f2ed4593dfb6da.png',1795853106.75);
INSERT INTO "swept" VALUES(2,'demo/66/6667f239eb71e6035ddfbb9ae05ad7e1229512eba9cc73559fd7e50ba4e2b2a8.png',1795853106.75);
CREATE TABLE tenants (
	name VARCHAR NOT NULL, 
	weight DOUBLE NOT NULL, 
	limits JSON NOT NULL, 
	created_at DOUBLE NOT NULL, 
	removed_at DOUBLE, 
	PRIMARY KEY (name)
);
INSERT INTO "tenants" VALUES('demo',1.0,'{}',1795852800.0,NULL);
INSERT INTO "tenants" VALUES('atelier',3.0,'{"requests_per_minute": 600, "queued_jobs": 20, "images_per_day": 500, "gflop_per_day": 1000000.0, "max_pixels": 1048576, "max_steps": 50, "max_images": 8, "retention_days": 7, "models": ["controlnet-demo"]}',1795852800.0,NULL);
INSERT INTO "tenants" VALUES('former',1.0,'{}',1795852800.0,1795852900.0);
CREATE TABLE turns (
	tenant VARCHAR NOT NULL, 
	served DOUBLE NOT NULL, 
	waiting BOOLEAN NOT NULL, 
	PRIMARY KEY (tenant)
);
INSERT INTO "turns" VALUES('demo',7.91991123968000124491e+02,0);
INSERT INTO "turns" VALUES('atelier',5.80873011200000064499e+02,0);
CREATE TABLE usage (
	job_id VARCHAR NOT NULL, 
	tenant VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	images INTEGER NOT NULL, 
	steps INTEGER NOT NULL, 
	pixels BIGINT NOT NULL, 
	gpu_seconds DOUBLE NOT NULL, 
	at DOUBLE NOT NULL, 
	day VARCHAR NOT NULL, gflop DOUBLE DEFAULT '0' NOT NULL, 
	PRIMARY KEY (job_id), 
	FOREIGN KEY(job_id) REFERENCES jobs (id)
);
INSERT INTO "usage" VALUES('job_01a2212c9e70c4bb86c3d1c427104c41','demo','controlnet-demo',2,24,24576,1.5,1795852904.25,'2026-11-28',70.368608256);
INSERT INTO "usage" VALUES('job_01a2212de0b48c2e0718822ce47c4107','demo','controlnet-demo',2,24,24576,1.5,1795852986.75,'2026-11-28',70.368608256);
INSERT INTO "usage" VALUES('job_01a2212f5f8486d2c96e760e819b24c3','demo','controlnet-demo',2,24,24576,1.5,1795853085.0,'2026-11-28',70.368608256);
INSERT INTO "usage" VALUES('job_01a2212f982893114351dcbed407b605','demo','controlnet-demo',0,0,0,1.5,1795853099.25,'2026-11-28',0.012288);
INSERT INTO "usage" VALUES('job_01a2212fa4dab99e8306dda748a69a8a','demo','controlnet-demo',2,24,24576,1.5,1795853102.5,'2026-11-28',64.824262656);
INSERT INTO "usage" VALUES('job_01a2212fb18c3f415b024a146cf098e1','atelier','controlnet-demo',2,24,24576,1.5,1795853105.75,'2026-11-28',70.368608256);
CREATE INDEX jobs_by_age ON jobs (state, created_at, id);
CREATE INDEX jobs_by_lease ON jobs (state, lease_until);
CREATE INDEX jobs_by_tenant ON jobs (tenant, created_at, id);
CREATE INDEX events_by_job ON events (job_id, id);
CREATE INDEX jobs_by_expiry ON jobs (expired_at, expires_at);
CREATE INDEX idempotency_by_expiry ON idempotency (expires_at);
CREATE INDEX usage_by_tenant ON usage (tenant, at);
CREATE INDEX deliveries_by_due ON deliveries (state, due_at);
CREATE INDEX holds_by_holder ON holds (holder);
CREATE INDEX swept_by_key ON swept ("key");
CREATE INDEX jobs_by_turn ON jobs (state, tenant, priority, created_at, id, rows, gflop);
CREATE INDEX jobs_by_deadline ON jobs (state, deadline) WHERE deadline IS NOT NULL;
CREATE INDEX keys_by_tenant ON keys (tenant, created_at);
CREATE INDEX audit_by_tenant ON audit (tenant, id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('audit',15);
INSERT INTO "sqlite_sequence" VALUES('events',78);
INSERT INTO "sqlite_sequence" VALUES('swept',2);
COMMIT;
